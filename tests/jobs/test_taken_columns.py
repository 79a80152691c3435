"""A queued training sees the columns of the files beside which its adapters will lie."""

from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.jobs.warm import Warm
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import Workspace
from tests.diffusion.adapting import random_adapter
from tests.jobs.tooling import do
from tests.jobs.working import Place


def test_a_queued_training_takes_no_columns_of_an_imported_file(place: Place) -> None:
    workspace = Workspace(place.root)
    workspace.adapters.mkdir()
    imported = random_adapter(load_base(place.base), "imported", slot=ColumnSlot(0, 4))
    imported.save(workspace.adapters / "imported.safetensors")
    outcome = do(place, place.train("rex", steps=1), Warm("cpu"))
    (made,) = outcome.answer["adapters"]
    assert made["slot"]["start"] >= 4
    assert [claim.concept for claim in Ledger(workspace.ledger_path).holders()] == ["rex"]
