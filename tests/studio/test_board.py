import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectral_diffusion.errors import SlotError
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.ledger import Claim
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio import slots
from spectral_diffusion.studio.assignments import assign, note_lost
from spectral_diffusion.studio.board import lost, read_board
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.holders import Measurer, overlap_html, room_words, table_html
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.studio.boards import board_desk, states, train


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with board_desk(tmp_path) as desk:
        yield desk


def test_a_board_says_who_holds_what_what_is_free_and_how_strong_it_is(desk: Desk):
    train(desk, "octo", 0)
    assign(desk, "mug", 2)
    board = read_board(desk)
    assert states(board) == {"octo": (0, "trained"), "mug": (4, "reserved")}
    assert board.without == ("rover",)
    assert (board.capacity, board.free) == (6, [1, 3, 4, 5])
    assert board.energy(ColumnSlot(0, 2)) == pytest.approx(0.5)
    assert board.energy(ColumnSlot(10, 2)) is None, "its columns were not measured"
    assert room_words(board) == "4 of 6 slots are free: 4 more concepts of rank 2 fit."
    table = table_html(board)
    assert all(word in table for word in ("octo.safetensors", "reserved", "50.0 %", "&lt;octo&gt;", "0-1", "4-5"))
    assert json.loads(json.dumps(slots.slots(desk)))["free"] == [1, 3, 4, 5]


def test_columns_of_files_are_held_though_the_ledger_lost_them_and_can_be_noted(desk: Desk):
    train(desk, "octo", 0, noted=False)
    board = read_board(desk)
    assert [(holding.concept, holding.is_noted) for holding in lost(board)] == [("octo", False)]
    assert "the ledger does not know" in table_html(board)
    with pytest.raises(SlotError, match="held by octo"):
        assign(desk, "mug", 0)
    assert assign(desk, "mug", "auto") == ColumnSlot(2, 2)
    assert note_lost(desk) == ["octo"]
    assert [str(claim) for claim in desk.ledger.holders()] == ["octo (columns 0-1)", "mug (columns 2-3)"]
    assert lost(read_board(desk)) == []


def test_a_reservation_elsewhere_yields_to_the_file(desk: Desk):
    train(desk, "octo", 0, noted=False)
    desk.ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 4)
    assert note_lost(desk) == ["octo"]
    assert [str(claim) for claim in desk.ledger.holders()] == ["octo (columns 0-1)"]


def test_concepts_of_a_fused_file_hold_their_columns_until_it_goes(desk: Desk):
    train(desk, "octo", 0)
    path = desk.workspace.adapters / "octo.safetensors"
    fuse_files([(path, 1.0)]).save(desk.workspace.adapters / "both.safetensors")
    make_adapter("octo", 3).save(path)
    desk.ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    board = read_board(desk)
    assert [(holding.slot.start, holding.is_noted) for holding in board.of("octo")] == [(0, False), (6, True)]
    assert 0 not in board.free
    assert lost(board) == [], "the ledger knows where octo itself is"


def test_other_bases_and_unreadable_files_are_none_of_this_models(desk: Desk):
    desk.ledger.claim("sd15", {"unet": "c" * 64}, "vase", 4, 80, 0)
    (desk.workspace.adapters / "broken.safetensors").write_bytes(b"nothing")
    board = read_board(desk)
    assert (board.holdings, board.elsewhere) == ((), ("sd15",))
    assert len(board.free) == 6


def test_adapters_of_other_widths_are_where_they_are(desk: Desk):
    make_adapter("wide", 0, rank=5).save(desk.workspace.adapters / "wide.safetensors")
    board = read_board(desk)
    assert board.free == [3, 4, 5]
    assert note_lost(desk) == ["wide"]
    assert Claim.model_validate(desk.ledger.holders()[0]).slot == ColumnSlot(0, 5)


def test_a_rank_that_does_not_fit_is_said(desk: Desk):
    desk.studio.config = desk.studio.config.override({"training.rank": 16})
    board = read_board(desk)
    assert (board.capacity, board.free) == (0, [])
    assert room_words(board) == "No slot of rank 16 fits: the narrowest weight has 12 columns."
    with pytest.raises(SlotError, match="smaller rank"):
        assign(desk, "mug", "auto")
    with pytest.raises(SlotError, match="smaller rank"):
        assign(desk, "mug", 0)


def test_disjoint_columns_are_measured_as_such_and_others_are_told(desk: Desk):
    measurer = Measurer()
    assert "Two trained concepts" in overlap_html(measurer.measure(desk, read_board(desk)))
    train(desk, "octo", 0)
    train(desk, "mug", 1)
    measured = measurer.measure(desk, read_board(desk))
    assert measured.names == ("octo (columns 0-1)", "mug (columns 2-3)")
    assert measured.largest < 1e-5
    assert "are disjoint" in overlap_html(measured)
    assert measurer.measure(desk, read_board(desk)) is measured
    make_adapter("rover", 0).save(desk.workspace.adapters / "rover.safetensors")
    measured = measurer.measure(desk, read_board(desk))
    assert measured.largest == pytest.approx(1.0, abs=1e-5)
    assert "cannot be fused" in overlap_html(measured)
