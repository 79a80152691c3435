"""Jobs done in this process, without a worker."""

from collections.abc import Callable

from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.tasks import run_task
from spectral_diffusion.jobs.tools import Outcome, Tools
from spectral_diffusion.jobs.warm import Warm
from tests.jobs.working import Place


def do(place: Place, job: Job, warm: Warm, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
    """What a runner does for a job."""
    assert job.spec is not None
    folder = JobFolder.of(place.queue.store, job.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    tools = Tools(folder, place.queue.database, warm, ProgressWriter(folder.path), should_stop)
    outcome = run_task(job.spec, tools)
    tools.progress.tell(now=True)
    return outcome
