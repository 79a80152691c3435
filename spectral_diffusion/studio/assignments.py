"""How concepts get their columns of the model, and give them back."""

from contextlib import suppress
from typing import Literal, NamedTuple

from spectral_diffusion.diffusion.gallery import ConceptSummary, list_concepts
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.ledger import Claim
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio.board import Board, lost, read_board, trained
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.open_jobs import concepts_in_training

_SHOWN_LETTERS = 60


class Given(NamedTuple):
    """What was reserved when everybody was to have a slot.

    Args:
        slots: The columns, by concept; empty where everybody had a slot.
        fault: Why the others got none.
    """

    slots: dict[str, ColumnSlot]
    fault: InputError | None = None


def assign(desk: Desk, concept: str, slot: int | Literal["auto"]) -> ColumnSlot:
    """Reserve a slot for a concept, or move its reservation. What is trained stays where it was trained.

    Args:
        desk: Whose.
        concept: Its name.
        slot: Number of the slot, or "auto" for what it holds already or else the first free one.

    Raises:
        InputError: There is no such concept, or its training has not ended.
        SlotError: Somebody else holds columns of the slot, and is named; there is no such slot, or none is free; or the
            concept is trained in other columns.
    """
    board = read_board(desk)
    summary = _known(desk, board, concept)
    if concept in concepts_in_training(desk):
        raise InputError(f"{concept} is in a training that has not ended", "wait for it, or cancel it in Train")
    lost = trained(board, concept)
    if lost is not None and lost.slot.start % lost.slot.width == 0:
        if slot != "auto" and board.columns(slot) != lost.slot:
            raise SlotError(
                f"{concept} is trained in {lost.slot}: its adapter changes these and no others",
                "train it again in another slot, or delete its adapter in Files",
            )
        return _claim(desk, board, concept, lost.slot.width, lost.slot.start // lost.slot.width, lost.token)
    half = next((holding for holding in board.of(concept) if holding.state == "half-trained"), None)
    if half is not None:
        if slot != "auto" and board.columns(slot) != half.slot:
            again = "try its training again in Train" if half.ended else "go on with its training"
            raise SlotError(
                f"{concept} is half-trained in {half.slot}: its checkpoint changes these and no others",
                f"{again}, or release it first to begin anew elsewhere",
            )
        return half.slot
    return _claim(desk, board, concept, board.rank, slot, (summary.token if summary else None) or None)


def assign_all(desk: Desk) -> Given:
    """A slot for every concept that has none and is not trained without, the first free ones.

    Raises:
        SlotError: No slot is free.
        InputError: See `read_board`. Nothing was reserved then.
    """
    board, given = read_board(desk), dict[str, ColumnSlot]()
    needless = board.training | {one.concept for one in board.columnless}
    for concept in board.without:
        if concept in needless:
            continue
        try:
            given[concept] = assign(desk, concept, "auto")
        except InputError as error:
            if not given:
                raise
            return Given(given, error)
    return Given(given)


def release(desk: Desk, concept: str) -> ColumnSlot:
    """Give a reservation back.

    Raises:
        InputError: The concept holds nothing, is in training, or is trained.
    """
    board = read_board(desk)
    held = board.of(str(concept))
    noted = next((holding for holding in held if holding.is_noted), None)
    if noted is None and not held:
        names = ", ".join(sorted({holding.concept for holding in board.holdings}))
        raise InputError(f"{_short(concept)} holds no slot", f"release one of: {names}" if names else "none is held")
    if concept in concepts_in_training(desk):
        raise InputError(f"{concept} is in a training that has not ended", "wait for it, or cancel it in Train")
    if noted is None or noted.state == "trained":
        lies = noted or held[0]
        raise InputError(
            f"{concept} is trained: {lies.slot} are changed by {', '.join(lies.files)}",
            "delete that in Files, and its columns are free",
        )
    for claim in desk.ledger.holders():
        if claim.concept == concept and claim.on_base(board.facts.fingerprints):
            desk.ledger.release(concept, claim.base)
    return noted.slot


def note_lost(desk: Desk) -> list[str]:
    """Tell the ledger of columns that adapter files hold and it does not know.

    Returns:
        Names of the concepts that it knows now.

    Raises:
        InputError: The ledger cannot be read or written.
    """
    board = read_board(desk)
    noted = []
    for holding in lost(board):
        # Where two files changed one column, who has it is for people to settle.
        with suppress(SlotError):
            assign(desk, holding.concept, "auto")
            noted.append(holding.concept)
    return noted


def check_free(board: Board, concept: str, number: int) -> ColumnSlot:
    """The columns of a slot that a concept could have.

    Raises:
        SlotError: There is no such slot, or others hold columns of it, and are named.
    """
    slot = board.columns(number)
    others = [h for h in board.holdings if h.concept != concept and h.slot.overlaps(slot)]
    if others:
        names = ", ".join(f"{holding.concept} ({holding.slot})" for holding in others)
        raise SlotError(f"slot {number} ({slot}) is held by {names}", _remedy(board))
    return slot


def folder_of(desk: Desk, concept: str) -> ConceptSummary | None:
    """The folder of a concept's photographs, if there is one."""
    return next((summary for summary in list_concepts(desk.workspace) if summary.name == concept), None)


def _known(desk: Desk, board: Board, concept: str) -> ConceptSummary | None:
    summary = folder_of(desk, concept)
    if summary is None and not board.of(concept):
        names = ", ".join(board.concepts)
        raise InputError(
            f"there is no concept {_short(concept)}", f"choose one of: {names}" if names else "make one in Concepts"
        )
    return summary


def _claim(
    desk: Desk, board: Board, concept: str, width: int, slot: int | Literal["auto"], token: str | None
) -> ColumnSlot:
    in_files = [
        Claim(
            concept=holding.concept,
            base=board.facts.name,
            fingerprints=board.facts.fingerprints,
            start=holding.slot.start,
            width=holding.slot.width,
        )
        for holding in board.holdings
        if holding.files
    ]
    capacity = board.facts.capacity(width)
    try:
        return desk.ledger.claim(
            board.facts.name, board.facts.fingerprints, concept, width, capacity, slot, token, in_files
        )
    except SlotError as error:
        # The ledger's own remedies are commands.
        raise SlotError(error.what, _remedy(board) if capacity else "use a recipe of a smaller rank") from error


def _remedy(board: Board) -> str:
    free = board.free
    if not free:
        return "no slot is free: release a reservation, delete an adapter in Files, or train with a smaller rank"
    some = ", ".join(map(str, free[:5]))
    return f"free are {some}{' and more' if len(free) > 5 else ''}; or release what is reserved there"


def _short(text: object) -> str:
    return repr(str(text)[:_SHOWN_LETTERS])
