"""Jobs that ended as nobody wished."""

import json

from sqlalchemy import text

from spectral_diffusion.jobs.queue import Job, JobQueue


def fail(queue: JobQueue, job: Job, why: str) -> Job:
    """As if a worker had tried, and given up for that reason."""
    with queue.database.engine.begin() as writing:
        writing.execute(
            text("update workflow_status set status = 'ERROR', error = :error where workflow_uuid = :id"),
            {"id": job.id, "error": json.dumps({"name": "JobFailed", "message": why})},
        )
    return queue.job(job.id)
