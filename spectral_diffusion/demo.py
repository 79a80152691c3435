"""The whole job on the sample concepts: train each in its own slot, fuse by a sum, draw together, score, report."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from spectral_diffusion.adapters import Adapter, holds_columns
from spectral_diffusion.adapters.energy import GroupEnergy, energies
from spectral_diffusion.config import Config
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.dataset import Concept, load_concept
from spectral_diffusion.diffusion.pipeline import GeneratedImage, generate, save_generated
from spectral_diffusion.diffusion.score import (
    AlignmentScore,
    LeakMatrix,
    alignment,
    alignment_of_parts,
    columns,
    leak_matrix,
)
from spectral_diffusion.diffusion.scorer import Scorer, default_scorer, load_scorer
from spectral_diffusion.diffusion.targets import find_module, flat_weight
from spectral_diffusion.diffusion.trainer import StepReport, train_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter, fuse
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.workspace import Workspace

# Places where none of the samples was photographed, so that a concept has to leave its photographs.
SCENES_ALONE = ("on the beach", "in the snow")
SCENES_TOGETHER = ("on the beach", "in the snow", "in the desert")
SEEDS_TOGETHER = 3


@dataclass(frozen=True)
class Drawn:
    """A picture of the demo: who is in it, by which weights, and the file it is saved as.

    Args:
        concepts: Names, from left to right.
        by: `base` (descriptions instead of tokens), `alone` (one adapter), or `fused`.
        scene: Where it plays.
        picture: The picture with its settings.
    """

    concepts: tuple[str, ...]
    by: str
    scene: str
    picture: GeneratedImage

    @property
    def image(self) -> Image.Image:
        """The picture itself."""
        return self.picture.image

    @property
    def file_name(self) -> str:
        """Name of its PNG."""
        scene = self.scene.replace(" ", "-")
        return f"{'+'.join(self.concepts)}_{scene}_{self.by}_{self.picture.settings.seed}.png"


@dataclass
class DemoResult:
    """Everything the demo made and measured.

    Args:
        base_name: The base model.
        concepts: What was learned.
        adapters: One for each.
        energies: Of each adapter, all layers together.
        fused: Their sum.
        drawn: All pictures.
        scorer_name: The CLIP that judged; None when there was none, and then there are no scores.
        photographs: Alignment of each concept's photographs with one another: the most that can be hoped for.
        scores: By concept name (`together` for all) and by what drew.
        leaks: Of the fused pictures of all concepts.
        seconds: Time of each stage, in order.
        losses: Mean loss of the last tenth of each training.
    """

    base_name: str
    concepts: list[Concept]
    adapters: list[Adapter] = field(default_factory=list)
    energies: list[GroupEnergy] = field(default_factory=list)
    fused: FusedAdapter | None = None
    drawn: list[Drawn] = field(default_factory=list)
    scorer_name: str | None = None
    photographs: dict[str, float] = field(default_factory=dict)
    scores: dict[str, dict[str, AlignmentScore]] = field(default_factory=dict)
    leaks: LeakMatrix | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    def pictures(self, by: str, *concepts: str) -> list[Drawn]:
        """The pictures of exactly these concepts drawn by these weights, in the order of the scenes."""
        return [drawn for drawn in self.drawn if drawn.by == by and drawn.concepts == concepts]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def run_demo(
    config: Config,
    concept_folders: Sequence[Path],
    out: Path,
    *,
    device: str | torch.device = "auto",
    seed: int = 1,
    scenes_alone: Sequence[str] = SCENES_ALONE,
    scenes_together: Sequence[str] = SCENES_TOGETHER,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_step: Callable[[StepReport], None] | None = None,
    resume: bool | Literal["auto"] = False,
    should_stop: Callable[[], bool] | None = None,
) -> DemoResult:
    """Train, fuse, draw and score, and keep everything under a folder.

    Args:
        config: The recipe; its base is the model.
        concept_folders: The concepts, in the order in which they stand from left to right.
        out: Gets `adapters/`, `pictures/`, the ledger and `fused.safetensors`.
        device: Where to compute.
        seed: Of the first picture of every scene; the same before and after fusion.
        scenes_alone: Where each concept is drawn by itself.
        scenes_together: Where all are drawn in one wide picture, `SEEDS_TOGETHER` times each.
        on_stage: Told what begins, in words.
        on_step: Told of every training step, as by `train_concepts`.
        resume, should_stop: As for `train_concepts`.

    Raises:
        InputError: A concept, the base or the folder cannot be used.
        KeyboardInterrupt: `should_stop` said so during a training.
    """
    concepts = [load_concept(folder) for folder in concept_folders]
    result = DemoResult(config.base, concepts)
    on_stage(f"loading {config.base}")
    with result.timed("loading"):
        base = load_base(config.base, device=device)
        scorer = _scorer(base, on_stage)
    result.base_name = base.name
    _train(result, base, config, Workspace(out), on_stage, on_step, resume, should_stop)
    with result.timed("fusing"):
        result.fused = fuse(result.adapters)
    result.fused.save(out / "fused.safetensors")
    _draw(result, base, config, seed, scenes_alone, scenes_together, on_stage)
    for drawn in result.drawn:
        save_generated(drawn.picture, out / "pictures" / drawn.file_name)
    if scorer is not None:
        on_stage("scoring")
        with result.timed("scoring"):
            _score(result, scorer)
    return result


def _scorer(base: Base, on_stage: Callable[[str], None]) -> Scorer | None:
    try:
        return load_scorer(default_scorer(toybox=base.is_toybox), device=base.device)
    except InputError as error:
        on_stage(f"no scores: {error}")
        return None


def _train(
    result: DemoResult,
    base: Base,
    config: Config,
    workspace: Workspace,
    on_stage: Callable[[str], None],
    on_step: Callable[[StepReport], None] | None,
    resume: bool | Literal["auto"],
    should_stop: Callable[[], bool] | None,
) -> None:
    ledger, owns = Ledger(workspace.ledger_path), holds_columns(config.training.method)
    for number, concept in enumerate(result.concepts):
        where = f"in slot {number}" if owns else f"by {config.training.method}"
        on_stage(f"training {concept.token}, {with_article(concept.class_word)}, {where}")
        losses: list[float] = []

        def step_done(progress: StepReport, losses: list[float] = losses) -> None:
            losses.append(progress.loss)
            if on_step is not None:
                on_step(progress)

        with result.timed(f"training {concept.name}"):
            result.adapters += train_concepts(
                config,
                base,
                [concept],
                ledger,
                on_step=step_done,
                out=workspace.adapters,
                slot=number if owns else "auto",
                resume=resume,
                should_stop=should_stop,
            )
        # A concept that was finished before has no steps now.
        if losses:
            tail = losses[-max(len(losses) // 10, 1) :]
            result.losses[concept.name] = sum(tail) / len(tail)
    for adapter in result.adapters:
        weights = {}
        for path in adapter.modules:
            module = find_module(base.components, path)
            assert module is not None, "the adapter was trained on this base"
            weights[path] = flat_weight(module)
        result.energies.append(energies(adapter, weights)[-1])


def _draw(
    result: DemoResult,
    base: Base,
    config: Config,
    seed: int,
    scenes_alone: Sequence[str],
    scenes_together: Sequence[str],
    on_stage: Callable[[str], None],
) -> None:
    recipe = config.generation
    alone = {concept.name: fuse([adapter]) for concept, adapter in zip(result.concepts, result.adapters, strict=True)}
    group = tuple(result.concepts)

    def draw(concepts: tuple[Concept, ...], by: str, scene: str, seed: int) -> None:
        named = [with_article(concept.words) if by == "base" else concept.token for concept in concepts]
        weights = {"base": None, "alone": alone[concepts[0].name], "fused": result.fused}[by]
        wide = len(concepts) > 1
        (picture,) = generate(
            base,
            weights,
            f"a photo of {' and '.join(named)} {scene}",
            negative_prompt=recipe.negative_prompt,
            seed=seed,
            steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            width_px=recipe.width_px * 3 // 2 if wide else recipe.width_px,
            height_px=recipe.height_px,
        )
        result.drawn.append(Drawn(tuple(concept.name for concept in concepts), by, scene, picture))

    on_stage("drawing each concept alone, before and after fusion")
    for by in ("base", "alone", "fused"):
        with result.timed("drawing square pictures"):
            for concept in result.concepts:
                # The plain base is only the yardstick: one scene of it is enough.
                for scene in scenes_alone[:1] if by == "base" else scenes_alone:
                    draw((concept,), by, scene, seed)
    on_stage("drawing all together")
    with result.timed("drawing wide pictures"):
        for scene in scenes_together:
            draw(group, "base", scene, seed)
            for offset in range(SEEDS_TOGETHER):
                draw(group, "fused", scene, seed + offset)


def _score(result: DemoResult, scorer: Scorer) -> None:
    result.scorer_name = scorer.name
    photographs = {
        concept.name: [photograph.image for photograph in concept.photographs] for concept in result.concepts
    }
    words = {concept.token: concept.class_word for concept in result.concepts}
    for name, photos in photographs.items():
        vectors = scorer.embed_images(photos)
        others = ~torch.eye(len(photos), dtype=torch.bool)
        result.photographs[name] = float((vectors @ vectors.T)[others].mean()) if len(photos) > 1 else 1.0
        result.scores[name] = {
            by: alignment(
                scorer,
                [drawn.image for drawn in pictures],
                [drawn.picture.settings.prompt for drawn in pictures],
                photos,
                class_words=words,
            )
            for by in ("base", "alone", "fused")
            if (pictures := result.pictures(by, name))
        }
    names = tuple(photographs)
    boxes = columns(len(names))
    parts = list(zip(boxes, photographs.values(), strict=True))
    result.scores["together"] = {
        by: alignment_of_parts(
            scorer,
            [drawn.image for drawn in pictures],
            [drawn.picture.settings.prompt for drawn in pictures],
            parts,
            class_words=words,
        )
        for by in ("base", "fused")
        if (pictures := result.pictures(by, *names))
    }
    together = [drawn.image for drawn in result.pictures("fused", *names)]
    result.leaks = leak_matrix(scorer, together, boxes, photographs)
