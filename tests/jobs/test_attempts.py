"""How often a job is begun: a fault that comes back ends it, and progress forgives."""

from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.jobs.attempts import CRASHES, FRUITLESS_ATTEMPTS, Attempts, JobFailed
from spectral_diffusion.jobs.inputs import ConceptInput
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import FILE, Progress
from spectral_diffusion.jobs.specs import DescribeSpec, Spec, TrainSpec
from spectral_diffusion.jobs.store import Store

TRAINING = TrainSpec(
    concepts=(ConceptInput(blob="0" * 64, name="octo"),), config={"training": {"batch_size": 5}}, slot=3
)
READING = DescribeSpec(config={})


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder.of(Store(str(tmp_path)), "abcdefgh")


def reach(folder: JobFolder, **values: Any) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / FILE).write_text(Progress(**values).model_dump_json())


def log(folder: JobFolder) -> str:
    return (folder.path / "log.txt").read_text()


def test_a_process_that_dies_again_and_again_at_one_place_is_not_begun_for_ever(folder: JobFolder) -> None:
    attempts = Attempts(TRAINING, folder)
    for _ in range(CRASHES - 1):
        attempts.check()
        attempts.crashed("ended with code 3", was_killed=False)
    with pytest.raises(JobFailed, match="ended with code 3, 3 times at the same place; see its log"):
        attempts.crashed("ended with code 3", was_killed=False)
    assert log(folder).count("the process that did it ended with code 3") == CRASHES
    assert attempts.micro_batch_size == 0


def test_whoever_gets_further_each_time_goes_on(folder: JobFolder) -> None:
    attempts = Attempts(TRAINING, folder)
    for step in range(1, 4 * CRASHES):
        reach(folder, furthest=step)
        attempts.crashed("was ended by SIGKILL", was_killed=True)
    assert attempts.micro_batch_size == 0, "each time at another place"


def test_a_process_that_is_killed_twice_at_one_place_tries_half_a_batch(folder: JobFolder) -> None:
    attempts = Attempts(TRAINING, folder)
    attempts.crashed("was ended by SIGKILL", was_killed=True)
    assert attempts.micro_batch_size == 0
    attempts.crashed("was ended by SIGKILL", was_killed=True)
    assert attempts.micro_batch_size == 2


@pytest.mark.parametrize(("spec", "rows"), [(TRAINING, 2), (READING, 0)])
def test_memory_that_does_not_suffice_for_half_a_batch_either_ends_it(spec: Spec, rows: int, folder: JobFolder) -> None:
    attempts = Attempts(spec, folder)
    attempts.ran_out_of_memory("CUDA is full")
    assert attempts.micro_batch_size == rows
    assert "begun again" in log(folder) and ("with 2 rows" in log(folder)) == bool(rows)
    with pytest.raises(JobFailed, match=r"not enough memory.* \(CUDA is full\); use a smaller") as told:
        attempts.ran_out_of_memory("CUDA is full")
    assert ("also with 2 rows of a batch" in str(told.value)) == bool(rows)


def test_what_many_workers_have_begun_in_vain_is_not_begun_again(folder: JobFolder) -> None:
    reach(folder, fruitless=FRUITLESS_ATTEMPTS - 1)
    Attempts(TRAINING, folder).check()
    reach(folder, fruitless=FRUITLESS_ATTEMPTS)
    with pytest.raises(JobFailed, match="begun 50 times without getting any further"):
        Attempts(TRAINING, folder).check()
