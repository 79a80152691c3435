"""No two concepts ever hold one column of one base, whoever asks, however many ask at once."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion import ledger as ledger_module
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.ledger import Claim, Ledger, Room, free_slots, room
from spectral_diffusion.spectrum import ColumnSlot
from tests.adapters.making import FINGERPRINTS, make_adapter

TOYBOX = {"unet": "a" * 64, "text_encoder": "b" * 64}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "work" / "ledger.json")


def test_slots_are_given_in_order_and_kept(ledger: Ledger) -> None:
    assert ledger.holders() == []
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3) == ColumnSlot(0, 4)
    assert ledger.claim("toybox", TOYBOX, "shell", 4, 3) == ColumnSlot(4, 4)
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3) == ColumnSlot(0, 4)
    assert [str(claim) for claim in Ledger(ledger.path).holders("toybox")] == [
        "octo (columns 0-3)",
        "shell (columns 4-7)",
    ]
    assert ledger.holders("sd15") == []


def test_a_named_slot_is_given_or_refused_with_its_holder(ledger: Ledger) -> None:
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3, slot=1) == ColumnSlot(4, 4)
    with pytest.raises(SlotError, match=r"slot 1 \(columns 4-7\) on toybox is held by octo \(columns 4-7\)"):
        ledger.claim("toybox", TOYBOX, "shell", 4, 3, slot=1)
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3, slot=1) == ColumnSlot(4, 4)
    for beyond in (-1, 3):
        with pytest.raises(SlotError, match=f"slot {beyond} of 4 columns does not exist on toybox; choose 0 to 2"):
            ledger.claim("toybox", TOYBOX, "shell", 4, 3, slot=beyond)
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3, slot=2) == ColumnSlot(8, 4)
    assert ledger.claim("toybox", TOYBOX, "shell", 4, 3, slot=1) == ColumnSlot(4, 4)


def test_a_full_base_names_its_holders(ledger: Ledger) -> None:
    for name in ("octo", "shell"):
        ledger.claim("toybox", TOYBOX, name, 4, 2)
    with pytest.raises(SlotError, match=r"none of the 2 slots .* held by octo \(columns 0-3\), shell \(columns 4-7\)"):
        ledger.claim("toybox", TOYBOX, "rover", 4, 2)
    for width, capacity in ((0, 3), (4, 0)):
        with pytest.raises(SlotError, match="choose a smaller rank"):
            ledger.claim("toybox", TOYBOX, "rover", width, capacity)


def test_widths_may_differ_and_then_columns_decide(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "narrow", 2, 16, slot=2)  # columns 4-5
    assert ledger.claim("toybox", TOYBOX, "wide", 8, 4) == ColumnSlot(8, 8)
    assert ledger.claim("toybox", TOYBOX, "middle", 4, 8) == ColumnSlot(0, 4)
    with pytest.raises(SlotError, match=r"held by middle \(columns 0-3\), narrow \(columns 4-5\)"):
        ledger.claim("toybox", TOYBOX, "late", 8, 4, slot=0)


def test_a_concept_trained_again_at_another_width_moves(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "octo", 4, 8)
    ledger.claim("toybox", TOYBOX, "shell", 4, 8)
    assert ledger.claim("toybox", TOYBOX, "octo", 8, 4) == ColumnSlot(8, 8)
    assert [claim.concept for claim in ledger.holders()] == ["shell", "octo"]


def test_a_concept_keeps_its_slot_only_while_it_fits(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "octo", 4, 8, slot=2)
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 2) == ColumnSlot(0, 4)
    ledger.claim("toybox", TOYBOX, "octo", 4, 8, slot=2)
    assert ledger.claim("toybox", TOYBOX, "octo", 2, 16) == ColumnSlot(0, 2)
    # Files made elsewhere may share columns; whoever trains again first makes room.
    ledger.rebuild(map(Claim.of, [make_adapter("octo", 0), make_adapter("shell", 0)]))
    assert ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 3) == ColumnSlot(2, 2)


def test_bases_do_not_meet_but_components_in_common_do(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "octo", 4, 2)
    assert ledger.claim("sd15", {"unet": "c" * 64}, "octo", 8, 2) == ColumnSlot(0, 8)
    # The same denoiser under another name, with another text encoder.
    assert ledger.claim("copy", {"unet": "a" * 64, "text_encoder": "d"}, "shell", 4, 2) == ColumnSlot(4, 4)


def test_released_columns_are_free(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="octo holds no slot; none is held"):
        ledger.release("octo")
    ledger.claim("toybox", TOYBOX, "octo", 4, 2)
    ledger.claim("toybox", TOYBOX, "shell", 4, 2)
    with pytest.raises(InputError, match="rover holds no slot; release one of: octo, shell"):
        ledger.release("rover")
    assert [str(claim) for claim in ledger.release("octo")] == ["octo (columns 0-3)"]
    assert ledger.claim("toybox", TOYBOX, "rover", 4, 2) == ColumnSlot(0, 4)


def test_columns_of_one_base_are_released_apart_from_another_s(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "octo", 4, 2)
    ledger.claim("sd15", {"unet": "c" * 64}, "octo", 8, 2)
    with pytest.raises(InputError, match="octo holds no slot of sdxl"):
        ledger.release("octo", "sdxl")
    assert [claim.base for claim in ledger.release("octo", "sd15")] == ["sd15"]
    assert [claim.base for claim in ledger.holders()] == ["toybox"]


@given(
    asks=st.lists(
        st.tuples(
            st.sampled_from("abcdefgh"), st.sampled_from([1, 2, 3, 4]), st.one_of(st.just("auto"), st.integers(0, 9))
        ),
        max_size=12,
    )
)
def test_whatever_is_asked_no_column_has_two_holders(tmp_path_factory: pytest.TempPathFactory, asks: list) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.json")
    for concept, width, slot in asks:
        before = ledger.holders()
        try:
            given_slot = ledger.claim("toybox", TOYBOX, concept, width, 16 // width, slot)
        except SlotError:
            assert ledger.holders() == before
            continue
        held = ledger.holders()
        assert given_slot.start % width == 0 and given_slot.stop <= 16
        assert [claim.slot for claim in held if claim.concept == concept] == [given_slot]
        columns = [column for claim in held for column in range(claim.slot.start, claim.slot.stop)]
        assert len(columns) == len(set(columns))


def _claim_some(path: Path, process: int, together: Any, given_starts: Any) -> None:
    ledger = Ledger(path)
    together.wait()
    given_starts.put([ledger.claim("toybox", TOYBOX, f"{process}-{index}", 4, 64).start for index in range(16)])


def test_processes_at_once_never_get_one_slot_twice(tmp_path: Path) -> None:
    path, context = tmp_path / "ledger.json", multiprocessing.get_context("spawn")
    together, given_starts = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_claim_some, args=(path, number, together, given_starts)) for number in (0, 1)]
    for process in processes:
        process.start()
    starts = [given_starts.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(starts[0] + starts[1]) == list(range(0, 128, 4))
    assert [claim.start for claim in Ledger(path).holders()] == list(range(0, 128, 4))


def test_a_damaged_ledger_is_told_kept_and_made_again_from_adapters(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    for damage in ("", "{", "[]", '{"format": 2, "claims": []}', '{"claims": [{"concept": "x"}]}', "\x80\x04"):
        ledger.path.write_text(damage)
        for attempt in (
            ledger.holders,
            lambda: ledger.claim("toybox", TOYBOX, "octo", 4, 2),
            lambda: ledger.release("octo"),
        ):
            with pytest.raises(InputError, match=r"not a ledger .* slots rebuild"):
                attempt()
        assert ledger.path.read_text() == damage
    adapters = [make_adapter("shell", 1), make_adapter("octo", 0), make_adapter("octo", 0)]
    assert len(ledger.rebuild(map(Claim.of, adapters))) == 2
    assert [str(claim) for claim in ledger.holders("imaginary")] == ["octo (columns 0-1)", "shell (columns 2-3)"]
    assert ledger.claim("imaginary", adapters[0].fingerprints, "octo", 2, 3) == ColumnSlot(0, 2)


def test_a_concept_of_the_same_name_with_another_token_is_another_concept(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "dog", 4, 3, token="<dog>")
    before = ledger.holders()
    with pytest.raises(SlotError, match=r"dog \(columns 0-3\) on toybox .*<dog>.*<rex>; .*slots release dog"):
        ledger.claim("toybox", TOYBOX, "dog", 4, 3, token="<rex>")
    assert ledger.holders() == before
    assert ledger.claim("toybox", TOYBOX, "dog", 4, 3, token="<dog>") == ColumnSlot(0, 4)
    assert ledger.claim("toybox", TOYBOX, "dog", 4, 3) == ColumnSlot(0, 4)
    assert [claim.token for claim in ledger.holders()] == ["<dog>"]
    assert ledger.claim("sd15", {"unet": "c" * 64}, "dog", 4, 3, token="<rex>") == ColumnSlot(0, 4)


def test_a_ledger_without_tokens_and_capacities_is_read_and_completed(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    claim = {"concept": "dog", "base": "toybox", "fingerprints": TOYBOX, "start": 4, "width": 4}
    ledger.path.write_text(json.dumps({"format": 1, "claims": [claim]}))
    assert room(ledger.holders()) == []
    assert ledger.claim("toybox", TOYBOX, "dog", 4, 3, token="<dog>") == ColumnSlot(4, 4)
    assert [(claim.token, claim.capacity) for claim in ledger.holders()] == [("<dog>", 3)]


def test_a_concept_with_two_claims_on_a_base_has_one_after_the_next(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    claim = {"concept": "dog", "base": "toybox", "fingerprints": TOYBOX, "width": 4}
    ledger.path.write_text(json.dumps({"claims": [{**claim, "start": start} for start in (4, 8)]}))
    assert ledger.claim("toybox", TOYBOX, "dog", 4, 3) == ColumnSlot(4, 4)
    assert [claim.start for claim in ledger.holders()] == [4]


def test_a_claim_that_was_in_vain_is_undone_exactly(ledger: Ledger) -> None:
    ledger.claim("toybox", TOYBOX, "octo", 4, 8, token="<octo>")
    ledger.claim("toybox", {"unet": "c" * 64}, "octo", 4, 8)
    before = ledger.holders()
    (own,) = [claim for claim in before if claim.on_base(TOYBOX)]
    ledger.claim("toybox", TOYBOX, "octo", 4, 8, slot=3)
    ledger.claim("toybox", TOYBOX, "new", 4, 8, slot=4)
    ledger.give_back("octo", TOYBOX, own)
    ledger.give_back("new", TOYBOX, None)
    ledger.give_back("new", TOYBOX, None)
    assert sorted(map(repr, ledger.holders())) == sorted(map(repr, before))
    # Whoever took the old columns meanwhile keeps them.
    ledger.claim("toybox", TOYBOX, "octo", 4, 8, slot=3)
    ledger.claim("toybox", TOYBOX, "late", 8, 4, slot=0)
    ledger.give_back("octo", TOYBOX, own)
    assert {claim.concept for claim in ledger.holders() if claim.on_base(TOYBOX)} == {"late"}


def test_a_rebuilt_ledger_holds_one_claim_a_concept_and_base_the_first(ledger: Ledger) -> None:
    elsewhere = make_adapter("octo", 2, base_name="sd15", fingerprints={"unet": "c" * 64})
    adapters = [make_adapter("octo", 3), make_adapter("octo", 0), make_adapter("shell", 1), elsewhere]
    rebuilt = ledger.rebuild(map(Claim.of, adapters))
    assert [(claim.concept, claim.base, claim.start) for claim in rebuilt] == [
        ("octo", "imaginary", 6),
        ("shell", "imaginary", 2),
        ("octo", "sd15", 4),
    ]
    assert {claim.concept: claim.token for claim in rebuilt} == {"octo": "<octo>", "shell": "<shell>"}
    assert sorted(map(str, ledger.holders())) == sorted(map(str, rebuilt))


def test_room_counts_the_slots_that_can_still_be_claimed(ledger: Ledger) -> None:
    assert room(ledger.holders()) == []
    for taken, concept in enumerate(("octo", "shell", "rover"), start=1):
        ledger.claim("toybox", TOYBOX, concept, 4, 3)
        assert room(ledger.holders()) == [Room("toybox", 4, 3, 3 - taken)]
    with pytest.raises(SlotError, match="none of the 3 slots"):
        ledger.claim("toybox", TOYBOX, "late", 4, 3)
    # A slot of another width takes what it overlaps; other bases have room of their own.
    ledger.release("rover")
    ledger.release("shell")
    ledger.claim("toybox", TOYBOX, "narrow", 2, 6, slot=5)
    ledger.claim("sd15", {"unet": "c" * 64}, "octo", 8, 9)
    assert room(ledger.holders()) == [Room("sd15", 8, 9, 8), Room("toybox", 2, 6, 3), Room("toybox", 4, 3, 1)]
    # The narrowest weight of the imaginary base has 12 columns.
    assert room([Claim.of(make_adapter("octo", 1))]) == [Room("imaginary", 2, 6, 5)]


def test_columns_of_files_are_taken_though_the_ledger_does_not_know_them(ledger: Ledger) -> None:
    octo = Claim(concept="octo", base="toybox", fingerprints=TOYBOX, start=0, width=4)
    elsewhere = Claim(concept="rover", base="sd15", fingerprints={"unet": "c" * 64}, start=4, width=4)
    with pytest.raises(SlotError, match=r"slot 0 \(columns 0-3\) on toybox is held by octo \(columns 0-3\)"):
        ledger.claim("toybox", TOYBOX, "shell", 4, 3, slot=0, in_files=[octo])
    assert ledger.claim("toybox", TOYBOX, "shell", 4, 3, in_files=[octo, elsewhere]) == ColumnSlot(4, 4)
    assert ledger.claim("toybox", TOYBOX, "octo", 4, 3, slot=0, in_files=[octo]) == ColumnSlot(0, 4)
    with pytest.raises(SlotError, match=r"is held by octo \(columns 0-3\);"):
        ledger.claim("toybox", TOYBOX, "rover", 4, 3, slot=0, in_files=[octo])


@given(
    held=st.lists(st.builds(ColumnSlot, st.integers(0, 80), st.integers(1, 20)), max_size=6),
    width=st.integers(1, 9),
    capacity=st.integers(0, 12),
)
def test_a_slot_is_free_exactly_where_nobody_has_a_column_of_it(
    held: list[ColumnSlot], width: int, capacity: int
) -> None:
    free = free_slots(held, width, capacity)
    for number in range(capacity):
        taken = any(slot.overlaps(ColumnSlot(number * width, width)) for slot in held)
        assert (number in free) is not taken
    assert free == sorted(free)
    assert all(0 <= number < capacity for number in free)


def test_names_that_cannot_be_noted_are_refused_before_any_training(ledger: Ledger) -> None:
    for name in ("", "two\nlines", "x" * 300):
        with pytest.raises(InputError, match="cannot be noted"):
            ledger.claim("toybox", TOYBOX, name, 4, 2)
    assert ledger.holders() == []


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot"):
        Ledger(tmp_path / "file" / "ledger.json").claim("toybox", TOYBOX, "octo", 4, 2)


def test_a_stuck_process_is_told_rather_than_waited_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LOCK_TIMEOUT_SECONDS", 0.1)
    with ledger._locked(), pytest.raises(InputError, match=r"another process has held .* for 0.1 seconds"):
        Ledger(ledger.path).claim("toybox", TOYBOX, "octo", 4, 2)
