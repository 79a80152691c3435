"""Who is compared: ways to train three concepts, and ways to put what was trained together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_diffusion.adapters import Adapter, holds_columns
from spectral_diffusion.config import Config
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.trainer import train_concepts
from spectral_diffusion.fusion import FusedAdapter, fuse
from spectral_diffusion.ledger import Ledger


@dataclass(frozen=True)
class Training:
    """A way to train each concept by itself.

    Args:
        method: Key of `adapters.METHODS`.
        one_slot: Whether all concepts take the same columns on purpose; of methods with columns only.
    """

    method: str
    one_slot: bool = False


@dataclass(frozen=True)
class Contestant:
    """A row of the table.

    Args:
        name: As the table says it.
        training: How its concepts are trained.
        share: Strength of each of n concepts when they are together.
    """

    name: str
    training: Training
    share: Callable[[int], float]


SLOTS, OVERLAPPING, LORA = Training("spectral"), Training("spectral", one_slot=True), Training("lora")
CONTESTANTS = (
    Contestant("spectral slots", SLOTS, lambda count: 1.0),
    Contestant("spectral slots, averaged", SLOTS, lambda count: 1 / count),
    Contestant("spectral, one slot for all", OVERLAPPING, lambda count: 1.0),
    Contestant("LoRA, added", LORA, lambda count: 1.0),
    Contestant("LoRA, averaged", LORA, lambda count: 1 / count),
)


def train(
    training: Training,
    config: Config,
    base: Base,
    concepts: Sequence[Concept],
    out: Path,
    overrides: Mapping[str, object],
) -> list[Adapter]:
    """The concepts' adapters, each trained without the others; what lies in the folder already is taken from there.

    Args:
        training: How.
        config: The recipe.
        base: The model.
        concepts: What to learn.
        out: Gets the adapter files and a ledger.
        overrides: Further values of the recipe by dotted name, such as the method's own learning rates.
    """
    config = config.override({"training.method": training.method, "training.checkpoint_every": 0, **overrides})
    out.mkdir(parents=True, exist_ok=True)
    adapters = []
    for number, concept in enumerate(concepts):
        path = out / f"{concept.name}.safetensors"
        if not path.is_file():
            # Whoever shares columns on purpose may not see in the ledger that they are taken.
            ledger = Ledger(out / (f"ledger-{concept.name}.json" if training.one_slot else "ledger.json"))
            own = 0 if training.one_slot else number
            slot = own if holds_columns(training.method) else "auto"
            train_concepts(config, base, [concept], ledger, None, out=out, slot=slot)
        adapters.append(Adapter.load(path))
    return adapters


def put_together(contestant: Contestant, adapters: Sequence[Adapter]) -> FusedAdapter:
    """What draws all concepts in one picture."""
    strengths = [contestant.share(len(adapters))] * len(adapters)
    return fuse(list(adapters), strengths=strengths, on_overlap="warn")
