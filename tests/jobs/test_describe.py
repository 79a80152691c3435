"""Reading a model as a job."""

import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.jobs.specs import priority
from spectral_diffusion.jobs.submission import describe_spec
from spectral_diffusion.jobs.tools import Stopped
from spectral_diffusion.jobs.warm import Warm
from tests.command_line import write_recipe
from tests.jobs.tooling import do
from tests.jobs.working import Place


def test_what_a_job_finds_out_of_a_model_can_be_read_again(place: Place) -> None:
    config = load_config(write_recipe(place.root, place.base))
    job = place.queue.submit(lambda store: describe_spec(config))
    assert job.title == f"read the model {place.base.name}"
    training = place.train("red")
    assert job.spec is not None and training.spec is not None and priority(job.spec) < priority(training.spec)
    outcome = do(place, job, Warm("cpu"))
    facts = BaseFacts.model_validate(outcome.answer)
    assert outcome.files == {} and facts.name == place.base.name and facts.seconds_a_step > 0
    assert "timing" in place.queue.job(job.id).progress.stage


def test_reading_a_model_ends_when_asked_to(place: Place) -> None:
    config = load_config(write_recipe(place.root, place.base))
    job = place.queue.submit(lambda store: describe_spec(config))
    with pytest.raises(Stopped):
        do(place, job, Warm("cpu"), lambda: True)
