"""A training that is cancelled leaves the ledger as the adapter files say."""

from pathlib import Path

import pytest

from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.ledger import release_vain
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ConceptInput, TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.tools import Stopped
from spectral_diffusion.jobs.warm import Warm
from spectral_diffusion.ledger import Ledger
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.diffusion.adapting import random_adapter
from tests.jobs.tooling import do
from tests.jobs.working import Place


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.json")


def cancel_before_the_first_checkpoint(root: Path) -> None:
    spec = TrainSpec(concepts=(ConceptInput(blob="0" * 64, name="octo"),), config={}, slot=3)
    folder = JobFolder.of(Store(str(root)), "abcdefgh")
    folder.work.mkdir(parents=True)
    release_vain(spec, folder, Database(f"sqlite:///{root / 'jobs.sqlite'}"))


def test_who_was_trained_before_has_its_old_columns_again(tmp_path: Path, ledger: Ledger):
    (tmp_path / "adapters").mkdir()
    make_adapter("octo", 0).save(tmp_path / "adapters" / "octo.safetensors")
    ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    ledger.claim("imaginary", FINGERPRINTS, "shelly", 2, 6, 1)
    cancel_before_the_first_checkpoint(tmp_path)
    assert [str(claim) for claim in ledger.holders()] == ["octo (columns 0-1)", "shelly (columns 2-3)"]


def test_who_is_trained_again_where_it_was_keeps_its_columns(tmp_path: Path, ledger: Ledger):
    (tmp_path / "adapters").mkdir()
    make_adapter("octo", 3).save(tmp_path / "adapters" / "octo.safetensors")
    ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    cancel_before_the_first_checkpoint(tmp_path)
    assert [str(claim) for claim in ledger.holders()] == ["octo (columns 6-7)"]


def test_what_was_reserved_by_hand_before_the_first_training_stays(tmp_path: Path, ledger: Ledger):
    ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    cancel_before_the_first_checkpoint(tmp_path)
    assert [str(claim) for claim in ledger.holders()] == ["octo (columns 6-7)"]


def _half_trained(place: Place, name: str) -> tuple[Job, list[str]]:
    """A training whose worker died when it had a checkpoint, and the claims it left."""
    job = place.train(name, steps=6)
    checkpoints = place.root / "jobs" / job.id / "work" / "checkpoints"
    with pytest.raises(Stopped):
        do(place, job, Warm("cpu"), lambda: any(checkpoints.glob("[!.]*.safetensors")))
    return job, [claim.concept for claim in Ledger(place.root / "ledger.json").holders()]


def _held(place: Place) -> list[str]:
    return [claim.concept for claim in Ledger(place.root / "ledger.json").holders()]


def test_a_training_that_no_worker_holds_frees_its_columns_when_it_is_cancelled(place: Place) -> None:
    job, before = _half_trained(place, "red")
    assert before == ["red"]
    assert place.queue.cancel(job.id).state == "cancelled"
    assert _held(place) == []
    # Its checkpoint is still there, for a retry.
    assert place.queue.retry(job.id).state == "queued"
    do(place, job, Warm("cpu"))
    assert _held(place) == ["red"]


def test_a_training_that_was_not_begun_frees_nothing(place: Place) -> None:
    fingerprints = load_base(place.base).fingerprints
    ledger = Ledger(place.root / "ledger.json")
    (place.root / "adapters").mkdir()
    random_adapter(load_base(place.base), "red").save(place.root / "adapters" / "red.safetensors")
    ledger.claim("miniature", fingerprints, "red", 4, 4, 2)
    job = place.train("red")
    place.queue.cancel(job.id)
    place.queue.remove(job.id)
    assert [claim.start for claim in ledger.holders()] == [8]


def test_a_removed_training_leaves_neither_columns_nor_files(place: Place) -> None:
    job, _ = _half_trained(place, "red")
    place.queue._client.cancel_workflow(job.id)  # Its worker had no time to free anything.
    assert _held(place) == ["red"]
    place.queue.remove(job.id)
    assert _held(place) == [] and not (place.root / "jobs" / job.id).exists()


def test_a_concept_that_was_done_before_the_next_one_was_cancelled_frees_its_columns(place: Place) -> None:
    specs = [place.train_spec(place.queue.store, name, steps=3) for name in ("red", "blue")]
    both = specs[0].model_copy(update={"concepts": specs[0].concepts + specs[1].concepts})
    job = place.queue.submit(lambda store: both, user="tester")
    done = place.root / "jobs" / job.id / "work" / "red.safetensors"
    with pytest.raises(Stopped):
        do(place, job, Warm("cpu"), done.exists)
    assert "red" in _held(place)
    place.queue.cancel(job.id)
    assert _held(place) == [] and done.exists()
    place.queue.retry(job.id)
    do(place, job, Warm("cpu"))
    assert sorted(_held(place)) == ["blue", "red"]


def test_columns_that_another_training_of_the_concept_needs_are_not_freed(place: Place) -> None:
    job, _ = _half_trained(place, "red")
    other = place.train("red", steps=7)
    place.queue.cancel(job.id)
    place.queue.remove(job.id)
    assert _held(place) == ["red"] and place.queue.job(other.id).state == "queued"


def test_a_job_that_is_still_ending_is_not_removed(place: Place) -> None:
    job = place.train("red")
    place.queue.cancel(job.id)
    folder = JobFolder.of(place.queue.store, job.id)
    with folder.locked():
        with pytest.raises(InputError, match="still ending; try again in some seconds"):
            place.queue.remove(job.id)
        assert place.queue.job(job.id).state == "cancelled"
    place.queue.remove(job.id)
    assert not folder.path.exists()


def test_a_training_without_columns_frees_none_that_it_never_held(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "adapters").mkdir()
    make_adapter("octo", 0).save(tmp_path / "adapters" / "octo.safetensors")
    # Somebody has moved it by hand since; a LoRA of the concept that is cancelled has nothing to do with it.
    ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    config = {"training": {"method": "lora"}}
    spec = TrainSpec(concepts=(ConceptInput(blob="0" * 64, name="octo"),), config=config)
    folder = JobFolder.of(Store(str(tmp_path)), "abcdefgh")
    folder.work.mkdir(parents=True)
    release_vain(spec, folder, Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"))
    assert [str(claim) for claim in ledger.holders()] == ["octo (columns 6-7)"]


def test_a_queued_training_without_columns_is_done_and_may_be_cancelled(place: Place) -> None:
    job = place.train("red", steps=6, method="lora")
    checkpoints = place.root / "jobs" / job.id / "work" / "checkpoints"
    with pytest.raises(Stopped):
        do(place, job, Warm("cpu"), lambda: any(checkpoints.glob("[!.]*.safetensors")))
    assert place.queue.cancel(job.id).state == "cancelled" and _held(place) == []
    assert place.queue.retry(job.id).state == "queued"
    outcome = do(place, job, Warm("cpu"))
    assert outcome.answer["adapters"][0]["slot"] is None and _held(place) == []
