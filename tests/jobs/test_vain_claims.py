"""A training that is cancelled leaves the ledger as the adapter files say."""

from pathlib import Path

import pytest

from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.ledger import release_vain
from spectral_diffusion.jobs.specs import ConceptInput, TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.ledger import Ledger
from tests.adapters.making import FINGERPRINTS, make_adapter


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
