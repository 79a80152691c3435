"""Which concept holds which columns of which base: reserved here before training, so that no two ever meet.

Adapter files and checkpoints are the truth; the ledger is their index, and `Ledger.rebuild` makes it again from them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spectral_diffusion.adapters.adapter import Adapter, Line, first_fault
from spectral_diffusion.adapters.summary import PartSummary
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.reading import open_file
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import sweep_stale, write_atomically

LIMIT_BYTES = 2**26
"""Tens of thousands of claims."""
LOCK_TIMEOUT_SECONDS = 30.0
"""A claim takes milliseconds; whoever waits longer than this waits for something that is stuck."""


class Owner(BaseModel):
    """A concept on a base, which may hold columns there or none.

    Args:
        concept: Name of the concept.
        base: Name of the base.
        fingerprints: sha256 of each component of the base.
        token: The concept's token: two things of one name are told apart by it. None in ledgers that did not note it.
    """

    model_config = ConfigDict(frozen=True)

    concept: Line
    base: Line
    fingerprints: dict[Line, Line]
    token: Line | None = None

    def on_base(self, fingerprints: Mapping[str, str]) -> bool:
        """Whether a component of this base is also one of the other."""
        return any(fingerprints.get(component) == digest for component, digest in self.fingerprints.items())


class Claim(Owner):
    """One concept's columns on one base; two claims can only meet where they share a component of it.

    Args:
        concept, base, fingerprints, token: As of `Owner`.
        start, width: The columns.
        capacity: How many slots of this width the base has, where that is known.
    """

    start: int = Field(ge=0)
    width: int = Field(ge=1)
    capacity: int | None = Field(default=None, ge=1)

    @classmethod
    def of(cls, adapter: Adapter) -> "Claim | None":
        """The claim that a finished adapter has; None where its method holds no columns."""
        if adapter.slot is None:
            return None
        narrowest = min(min(adapter.shape(module)) for module in adapter.modules)
        return cls(
            concept=adapter.name,
            base=adapter.base_name,
            fingerprints=adapter.fingerprints,
            start=adapter.slot.start,
            width=adapter.slot.width,
            token=next(iter(adapter.tokens), None),
            capacity=narrowest // adapter.rank or None,
        )

    @classmethod
    def of_part(cls, part: PartSummary) -> "Claim | None":
        """The same as its file's header alone tells it, which knows of no capacity."""
        if part.slot is None:
            return None
        return cls(
            concept=part.name,
            base=part.base_name,
            fingerprints=part.fingerprints,
            start=part.slot.start,
            width=part.slot.width,
            token=next(iter(part.tokens), None),
        )

    @property
    def slot(self) -> ColumnSlot:
        """The columns."""
        return ColumnSlot(self.start, self.width)

    def meets(self, other: "Claim") -> bool:
        """Whether both hold a column of one base."""
        return self.on_base(other.fingerprints) and self.slot.overlaps(other.slot)

    def __str__(self) -> str:
        return f"{self.concept} ({self.slot})"


class Room(NamedTuple):
    """What is left of a base for concepts of one width."""

    base: str
    width: int
    capacity: int
    free: int


class _Claims(BaseModel):
    """What the file holds."""

    format: Literal[1] = 1
    claims: list[Claim] = []


class Ledger:
    """The claims of all concepts, in one JSON file that any number of processes share.

    Args:
        path: The file; it is made with the first claim.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def holders(self, base: str | None = None) -> list[Claim]:
        """All claims, or those on the base of that name, by base and column.

        Raises:
            InputError: The file is not a ledger.
        """
        return sorted(
            (claim for claim in self._read() if base in (None, claim.base)), key=lambda claim: (claim.base, claim.start)
        )

    def claim(
        self,
        base: str,
        fingerprints: Mapping[str, str],
        concept: str,
        width: int,
        capacity: int,
        slot: int | Literal["auto"] = "auto",
        token: str | None = None,
        in_files: Iterable[Claim] = (),
    ) -> ColumnSlot:
        """Reserve columns for a concept, atomically across processes.

        Slots are aligned: slot k of width r is columns k r to (k + 1) r - 1. Of different widths, those that share a
        column exclude each other.

        Args:
            base: Name of the base.
            fingerprints: sha256 of each of its components (`diffusion.base.fingerprint`).
            concept: Name of the concept. It keeps its slot when it is trained again at the same width.
            width: Columns of a slot: the rank.
            capacity: Slots of that width that the narrowest adapted weight has.
            slot: Number k of the slot, or "auto" for the concept's own or else the first free one.
            token: The concept's token. A concept of the same name with another token is another concept.
            in_files: Columns that adapter files hold, whatever the ledger says: those of other concepts are taken too.

        Raises:
            SlotError: The slot is taken, or beyond the last; or none is free; or another concept of that name holds
                one. Holders are named.
            InputError: The file is not a ledger, or cannot be written.
        """
        if width < 1 or capacity < 1:
            raise SlotError(f"there is no slot of {width} columns (capacity {capacity})", "choose a smaller rank")
        with self._locked():
            claims = self._read()
            here = [claim for claim in claims if claim.on_base(fingerprints)]
            own = next((claim for claim in here if claim.concept == concept), None)
            if own is not None and token is not None and own.token not in (None, token):
                raise SlotError(
                    f"{own} on {base} is another concept of that name, with the token {own.token} instead of {token}",
                    f"rename the concept's folder, or free it with `spectral-diffusion slots release {concept}`",
                )
            found = [claim for claim in in_files if claim.on_base(fingerprints)]
            known = {(claim.concept, claim.slot): claim for claim in (*here, *found) if claim.concept != concept}
            others = sorted(known.values(), key=lambda claim: claim.start)
            start = width * _choose(others, own, width, capacity, slot, base)
            kept = [claim for claim in claims if claim.concept != concept or not claim.on_base(fingerprints)]
            try:
                made = Claim(
                    concept=concept,
                    base=base,
                    fingerprints=dict(fingerprints),
                    start=start,
                    width=width,
                    token=token or (own.token if own else None),
                    capacity=capacity,
                )
            except ValidationError as error:
                raise InputError(
                    f"{concept!r} on {base!r} cannot be noted: {first_fault(error)}",
                    "use names of 1 to 200 printable characters",
                ) from error
            self._write([*kept, made])
        return made.slot

    def release(self, concept: str, base: str | None = None) -> list[Claim]:
        """Free the columns of a concept, on all bases or on the one of that name, and return what it held.

        Raises:
            InputError: It holds none; or the file is not a ledger, or cannot be written.
        """
        with self._locked():
            claims = self._read()
            released = [claim for claim in claims if claim.concept == concept and base in (None, claim.base)]
            if not released:
                names = ", ".join(sorted({claim.concept for claim in claims}))
                raise InputError(
                    f"{concept} holds no slot{f' of {base}' if base else ''}",
                    f"release one of: {names}" if names else "none is held",
                )
            self._write([claim for claim in claims if claim not in released])
        return released

    def give_back(self, concept: str, fingerprints: Mapping[str, str], before: Claim | None) -> None:
        """Undo a claim that was in vain.

        Args:
            concept: Who claimed.
            fingerprints: Of the base.
            before: What the concept held there before; it holds that again, unless somebody took it meanwhile.

        Raises:
            InputError: The file is not a ledger, or cannot be written.
        """
        with self._locked():
            claims = [claim for claim in self._read() if claim.concept != concept or not claim.on_base(fingerprints)]
            if before is not None and not any(claim.meets(before) for claim in claims):
                claims.append(before)
            self._write(claims)

    def rebuild(self, claims: Iterable[Claim], *, keep_missing: bool = False) -> list[Claim]:
        """Replace the ledger, whatever state it is in, by what files on disk say; return its claims.

        Args:
            claims: Of finished and half-trained concepts; of several of one concept on one base the first counts.
            keep_missing: Whether concepts of which there is no claim keep what the ledger says, where it can be read.

        Raises:
            InputError: The file cannot be written.
        """
        kept: list[Claim] = []
        with self._locked():
            before: list[Claim] = []
            if keep_missing:
                with suppress(InputError):
                    before = self._read()
            for claim in [*claims, *before]:
                if not any(claim.concept == other.concept and claim.on_base(other.fingerprints) for other in kept):
                    kept.append(claim)
            self._write(kept)
        return kept

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=LOCK_TIMEOUT_SECONDS)
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another process has held {self.path} for {LOCK_TIMEOUT_SECONDS:g} seconds", "end it and try again"
            ) from error
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror or error}", "choose a workspace you may write to"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> list[Claim]:
        if not self.path.exists():
            return []
        try:
            with open_file(self.path, LIMIT_BYTES) as file:
                return _Claims.model_validate_json(file.read()).claims
        except (InputError, ValidationError) as error:
            raise InputError(
                f"{self.path} is not a ledger this version can read",
                "make it again from the adapter files: spectral-diffusion slots rebuild",
            ) from error

    def _write(self, claims: list[Claim]) -> None:
        sweep_stale(self.path.parent, self.path.name)
        content = _Claims(claims=claims).model_dump_json(indent=1)
        write_atomically(self.path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def room(claims: Iterable[Claim]) -> list[Room]:
    """How many slots are left on each base for each width in use, where the capacity is known; by base and width."""
    claims = list(claims)
    known = sorted((claim for claim in claims if claim.capacity), key=lambda claim: claim.capacity or 0)
    # What a base has depends on which weights are adapted; of several answers the last, largest one counts.
    largest = {(claim.base, claim.width): claim for claim in known}
    found = []
    for (base, width), claim in sorted(largest.items(), key=lambda item: item[0]):
        capacity = claim.capacity or 0
        slots = [claim.model_copy(update={"start": number * width}) for number in range(capacity)]
        free = sum(not any(slot.meets(holder) for holder in claims) for slot in slots)
        found.append(Room(base, width, capacity, free))
    return found


def free_slots(held: Iterable[ColumnSlot], width: int, capacity: int) -> list[int]:
    """The numbers of the slots of a width, of as many as there are, that share no column with what is held."""
    taken = set[int]()
    for slot in held:
        taken.update(range(slot.start // width, min((slot.stop - 1) // width + 1, capacity)))
    return [number for number in range(capacity) if number not in taken]


def _choose(
    others: list[Claim], own: Claim | None, width: int, capacity: int, slot: int | Literal["auto"], base: str
) -> int:
    """The number of the slot to claim."""

    def holders(number: int) -> list[Claim]:
        return [claim for claim in others if claim.slot.overlaps(ColumnSlot(number * width, width))]

    if slot == "auto":
        kept = [own.start // width] if own is not None and own.width == width else []
        for number in [*kept, *range(capacity)]:
            if number < capacity and not holders(number):
                return number
        raise SlotError(
            f"none of the {capacity} slots of {width} columns on {base} is free; held by {', '.join(map(str, others))}",
            "free one with `spectral-diffusion slots release NAME`, or use a smaller rank",
        )
    if not 0 <= slot < capacity:
        raise SlotError(
            f"slot {slot} of {width} columns does not exist on {base}", f"choose 0 to {capacity - 1}, or auto"
        )
    if holders(slot):
        raise SlotError(
            f"slot {slot} ({ColumnSlot(slot * width, width)}) on {base} is held by "
            f"{', '.join(map(str, holders(slot)))}",
            "choose another or auto, or free it with `spectral-diffusion slots release NAME`",
        )
    return slot
