"""The columns of the model as they are now: who holds which, from the ledger, the adapter files and the jobs."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from spectral_diffusion.adapters.summary import PartSummary
from spectral_diffusion.diffusion.checkpoints import FOLDER, read_claim
from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.ledger import free_slots
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.ended_trainings import ended_trainings
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.parts.reading import why_unread

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.facts import BaseFacts

HoldingState = Literal["trained", "in training", "half-trained", "reserved"]


@dataclass(frozen=True)
class Holding:
    """Columns and who has them.

    Args:
        concept: Its name.
        slot: The columns.
        state: What lies in them: a finished adapter, a training that has not ended, a checkpoint, or nothing yet.
        files: The adapter files that change these columns.
        token: The concept's token, where it is known.
        is_noted: Whether the ledger says so; columns of adapter files are held whatever it says.
        ended: How the concept's last training ended, where that made no adapter in these columns.
    """

    concept: str
    slot: ColumnSlot
    state: HoldingState
    files: tuple[str, ...] = ()
    token: str | None = None
    is_noted: bool = True
    ended: Literal["failed", "cancelled"] | None = None

    @property
    def words(self) -> str:
        """The state, and what can be done where it waits for somebody."""
        if self.ended is None:
            return "half-trained (checkpoint)" if self.state == "half-trained" else self.state
        again = "retry" if self.ended == "failed" else "resume"
        if self.state == "half-trained":
            return f"training {self.ended}: {again} or remove it in Train"
        return f"reserved, and its training {self.ended}: {again} it in Train, or release it"


@dataclass(frozen=True)
class Columnless:
    """A concept that is trained on this model by a method that holds no columns.

    Args:
        concept: Its name.
        columns: That it holds none, in words.
        files: The adapter files.
        token: The concept's token.
    """

    concept: str
    columns: str
    files: tuple[str, ...]
    token: str | None = None


@dataclass(frozen=True)
class Board:
    """The columns of the model as they are now.

    Args:
        facts: Of the model.
        rank: Columns a slot, by the recipe.
        holdings: Who holds what, by column.
        without: Names of the concepts that hold nothing.
        columnless: Who is trained without columns; some of `without`, and some that have no photographs here.
        elsewhere: Names of the bases, other than this one, on which columns are held.
        training: Names of the concepts whose training waits or runs; one that has just been queued holds nothing yet.
    """

    facts: "BaseFacts"
    rank: int
    holdings: tuple[Holding, ...]
    without: tuple[str, ...]
    elsewhere: tuple[str, ...]
    columnless: tuple[Columnless, ...] = ()
    training: frozenset[str] = frozenset()

    @property
    def capacity(self) -> int:
        """How many slots of the recipe's rank there are."""
        return self.facts.capacity(self.rank)

    @property
    def free(self) -> list[int]:
        """The numbers of the slots of which nobody holds a column."""
        return free_slots((holding.slot for holding in self.holdings), self.rank, self.capacity)

    @property
    def concepts(self) -> list[str]:
        """Everybody who holds columns or could."""
        return sorted({holding.concept for holding in self.holdings}.union(self.without))

    def of(self, concept: str) -> list[Holding]:
        """What a concept holds."""
        return [holding for holding in self.holdings if holding.concept == concept]

    def columns(self, number: int) -> ColumnSlot:
        """The columns of a slot.

        Raises:
            SlotError: There is no slot of that number.
        """
        if not 0 <= number < self.capacity:
            there = f"the slots are 0 to {self.capacity - 1}" if self.capacity else "use a recipe of a smaller rank"
            raise SlotError(f"slot {number} of {self.rank} columns does not exist on {self.facts.name}", there)
        return ColumnSlot(number * self.rank, self.rank)

    def energy(self, slot: ColumnSlot) -> float | None:
        """Share of the spectral energy that these columns hold; None where it was not measured."""
        told = slot.stop <= len(self.facts.column_energy)
        return self.facts.energy(slot.start, slot.width) if told else None

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for programs."""
        return {
            "base": self.facts.name,
            "rank": self.rank,
            "columns": self.facts.narrowest,
            "slots": self.capacity,
            "free": self.free,
            "energy": [self.energy(self.columns(number)) for number in range(self.capacity)],
            "holders": [
                {
                    "concept": holding.concept,
                    "start": holding.slot.start,
                    "width": holding.slot.width,
                    "state": holding.state,
                    "ended": holding.ended,
                    "files": list(holding.files),
                    "noted": holding.is_noted,
                }
                for holding in self.holdings
            ],
            "without": list(self.without),
            "columnless": [
                {"concept": one.concept, "columns": one.columns, "files": list(one.files)} for one in self.columnless
            ],
        }


def read_board(desk: Desk) -> Board:
    """The columns of the model as they are now.

    Raises:
        InputError: The model was not read yet, or could not be; the ledger is damaged, or the queue cannot be reached.
    """
    facts = desk.studio.facts
    if facts is None:
        fault = why_unread(desk.studio.ask_for_facts())
        if fault is not None:
            raise InputError(f"the model could not be read: {fault}", "try again in Slots or in Model")
        raise InputError("the model has not been read yet", "wait until a worker has read it; it takes some seconds")
    claims = desk.ledger.holders()
    here = [claim for claim in claims if claim.on_base(facts.fingerprints)]
    held, tokens = _in_files(desk, facts.fingerprints)
    half, training = set(_half_trained(desk, facts.fingerprints)), concepts_in_training(desk)
    empty = {claim.concept for claim in here if (claim.concept, claim.slot) not in held}.difference(training)
    ended = ended_trainings(desk, empty)
    holdings = []
    for claim in here:
        key = claim.concept, claim.slot
        files, left = held.pop(key, []), ended.get(claim.concept)
        is_kept = left is not None and left.keeps(claim)
        state: HoldingState = "trained" if files else "half-trained" if is_kept or key in half else "reserved"
        if claim.concept in training:
            state = "in training"
        if state == "half-trained" and not is_kept:
            left = None
        token = claim.token or tokens.get(key)
        holdings.append(Holding(*key, state, tuple(files), token, ended=left.state if left else None))
    holdings += [Holding(*key, "trained", tuple(files), tokens.get(key), False) for key, files in held.items()]
    having = {holding.concept for holding in holdings}
    return Board(
        facts=facts,
        rank=desk.studio.config.training.rank,
        holdings=tuple(sorted(holdings, key=lambda holding: (holding.slot.start, holding.concept))),
        without=tuple(dict.fromkeys(c.name for c in list_concepts(desk.workspace) if c.name not in having)),
        columnless=_columnless(desk, facts.fingerprints),
        elsewhere=tuple(sorted({claim.base for claim in claims if claim not in here})),
        training=frozenset(training),
    )


def lost(board: Board) -> list[Holding]:
    """Columns that adapter files hold and the ledger does not know, one for each concept that has none noted there."""
    found: dict[str, Holding] = {}
    for holding in board.holdings:
        others = board.of(holding.concept)
        if not holding.is_noted and not any(o.is_noted and o.state in ("trained", "in training") for o in others):
            found.setdefault(holding.concept, holding)
    return [*found.values()]


def trained(board: Board, concept: str) -> Holding | None:
    """Where a concept is trained; of several places the one that the ledger knows."""
    found = [holding for holding in board.of(concept) if holding.files]
    return min(found, key=lambda holding: not holding.is_noted, default=None)


def _in_files(
    desk: Desk, fingerprints: Mapping[str, str]
) -> tuple[dict[tuple[str, ColumnSlot], list[str]], dict[tuple[str, ColumnSlot], str]]:
    """The columns that adapter files change, each with the files and with the token there."""
    held: dict[tuple[str, ColumnSlot], list[str]] = {}
    tokens: dict[tuple[str, ColumnSlot], str] = {}
    for file_name, part in _parts_here(desk, fingerprints):
        if part.slot is not None:
            held.setdefault((part.name, part.slot), []).append(file_name)
            for token in part.tokens:
                tokens.setdefault((part.name, part.slot), token)
    return held, tokens


def _columnless(desk: Desk, fingerprints: Mapping[str, str]) -> tuple[Columnless, ...]:
    found: dict[tuple[str, str], Columnless] = {}
    for file_name, part in _parts_here(desk, fingerprints):
        if part.slot is None:
            first = Columnless(part.name, part.columns, (), next(iter(part.tokens), None))
            known = found.get((part.name, part.columns), first)
            found[part.name, part.columns] = replace(known, files=(*known.files, file_name))
    return tuple(sorted(found.values(), key=lambda one: (one.concept, one.columns)))


def _parts_here(desk: Desk, fingerprints: Mapping[str, str]) -> Iterator[tuple[str, PartSummary]]:
    """Every concept of every adapter file of this model, with the file's name."""
    # Fusing may rename tokens: what a file of one concept says of its token counts more.
    for summary in sorted(desk.adapters(), key=lambda summary: summary.is_fused):
        for part in () if summary.fault else summary.parts:
            if any(fingerprints.get(component) == digest for component, digest in part.fingerprints.items()):
                yield summary.file_name, part


def _half_trained(desk: Desk, fingerprints: Mapping[str, str]) -> Iterator[tuple[str, ColumnSlot]]:
    for path in sorted((desk.workspace.adapters / FOLDER).glob("*.safetensors")):
        with suppress(InputError):
            claim = read_claim(path)
            if claim is not None and claim.on_base(fingerprints):
                yield claim.concept, claim.slot
