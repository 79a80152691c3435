"""One concept's training: the loop, what it keeps, how it stops and goes on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelerate import Accelerator
from PIL import Image
from torch import nn

from spectral_diffusion.adapters import METHODS, Adapter, FreeAdapter, TokenInfo, WeightAdapter
from spectral_diffusion.adapters.adapter import tell_columns
from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.accelerated import accelerated
from spectral_diffusion.diffusion.base import Base, capacity
from spectral_diffusion.diffusion.checkpoints import (
    Checkpoint,
    adapter_path,
    checkpoint_path,
    damaged,
    identify,
    recipe_of,
    tell_photographs,
    warn,
)
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.engine import EMBEDDINGS, SINGULAR_VALUES, Engine
from spectral_diffusion.diffusion.finished import Aim, find_finished, tell_what_is_replaced
from spectral_diffusion.diffusion.interruption import Interruption
from spectral_diffusion.diffusion.learner import Learner
from spectral_diffusion.diffusion.material import Material, prepare, step_generator
from spectral_diffusion.diffusion.objective import rate_factor
from spectral_diffusion.diffusion.prompts import word_vectors
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.diffusion.targets import cross_attention_paths, flat_weight
from spectral_diffusion.errors import AdapterFileError, InputError, TrainingError
from spectral_diffusion.images import save_png
from spectral_diffusion.ledger import Claim, Owner
from spectral_diffusion.spectrum import ColumnSlot, take_slot

Resume = bool | Literal["auto"]
DrawSamples = Callable[[Adapter], Sequence[Image.Image]]
# Weight of the newest step in the step rate that is shown.
_PACE = 0.1


@dataclass(frozen=True)
class StepReport:
    """How far a training is.

    Args:
        step: Steps taken.
        steps: Steps in all.
        loss: This step's loss, before its update.
        steps_per_second: A running mean.
        seconds_left: Until this concept is done, at that pace.
        concept: Its name.
    """

    step: int
    steps: int
    loss: float
    steps_per_second: float
    seconds_left: float
    concept: str


class Training:
    """The training of one concept, in one slot if its method has columns, from its photographs to its adapter file.

    Args:
        config: The recipe.
        base: The model.
        concept: What to learn.
        slot: The columns it owns; None where the method holds none.
        modules: The weights to adapt, by path.
        out: Folder of the adapter file.
        on_step: Told after every step.
        draw_samples: Draws with the half-trained adapter, the base being as it was.
        should_stop: Asked after every step and now and then before the first whether to end as by Ctrl-C.

    Attributes:
        interrupted: Whether Ctrl-C came too late to keep it from being finished.
    """

    def __init__(
        self,
        config: TrainingConfig,
        base: Base,
        concept: Concept,
        slot: ColumnSlot | None,
        modules: dict[str, nn.Module],
        out: Path,
        on_step: Callable[[StepReport], None] | None = None,
        draw_samples: DrawSamples | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.config, self.base, self.concept, self.slot, self.modules = config, base, concept, slot, modules
        self.out, self.on_step, self.draw_samples = out, on_step, draw_samples
        self.should_stop = should_stop
        self.checkpoint_path = checkpoint_path(out, concept)
        self.identity = identify(config, base, concept, slot)
        noted = {
            **config.model_dump(mode="json"),
            "photographs": tell_photographs(concept),
            "description": concept.words,
        }
        self.vectors = word_vectors(base, concept.words, config.vectors_per_token)
        tokens = {concept.token: TokenInfo(class_word=concept.class_word, vectors=len(self.vectors))}
        self.aim = Aim(adapter_path(out, concept), tell_columns(config.method, slot), base.fingerprints, tokens, noted)
        self.recipe = recipe_of(noted)
        self.step = 0
        self.interrupted = False

    def finished(self, resume: Resume) -> Adapter | None:
        """The adapter, if it was trained to the end already, see `find_finished`."""
        return find_finished(self.aim, self.checkpoint_path, resume)

    def tell_what_is_replaced(self) -> None:
        """Warns: TrainingWarning: The adapter file that will be written over was trained from something else."""
        tell_what_is_replaced(self.aim)

    def train(self, resume: Resume) -> Adapter:
        """From the first step, or from the checkpoint, to the adapter file."""
        self._check_wish()
        with self.base.lock, accelerated(self.base.device, self.config, self.out) as accelerator:
            self.learner = self._learner()
            self.engine = self.learner.engine
            going_on = bool(resume) and self.checkpoint_path.exists() and self._go_on(resume)
            material = prepare(self.base, self.concept, self.config, self._check_wish)
            if not going_on:
                # A checkpoint of an earlier attempt is no longer one of this training.
                self.checkpoint_path.unlink(missing_ok=True)
            if self.config.tensorboard:
                accelerator.init_trackers(self.concept.name)
            with Interruption(self.should_stop) as interruption:
                self._loop(material, accelerator, interruption)
                with self._keeping():
                    adapter = self._adapter()
                    adapter.save(self.aim.path)
                self.checkpoint_path.unlink(missing_ok=True)
            self.interrupted = interruption.asked
            return adapter

    def _go_on(self, resume: Resume) -> bool:
        """Take up the checkpoint; in automatic mode whether that was possible.

        Raises:
            InputError: It was not, and had been asked for.
        """
        try:
            checkpoint = Checkpoint.load(self.checkpoint_path, self.identity)
            if resume == "auto":
                checkpoint.check_recipe(self.checkpoint_path, self.recipe)
            if checkpoint.step > self.config.steps:
                raise InputError(
                    f"the checkpoint of {self.concept.name} is at step {checkpoint.step}, "
                    f"{self.config.steps} were asked",
                    "ask for more steps, or train anew without --resume",
                )
            try:
                self.engine.load_state(checkpoint.state)
            except ValueError as error:
                raise damaged(self.checkpoint_path, error) from error
        except InputError as error:
            if resume == "auto":
                warn(f"{error.what}; {self.concept.name} begins anew")
                return False
            raise
        self.step = checkpoint.step
        return True

    def _learner(self) -> Learner:
        config, base = self.config, self.base
        vectors = self.vectors.to(base.device, copy=True)
        if config.layerwise_tokens:
            vectors = vectors.repeat(len(cross_attention_paths(base.unet)), 1, 1)
        engine = Engine(
            base.components,
            self._begun(),
            {self.concept.token: nn.Parameter(vectors)},
            {
                "unet": config.learning_rates.unet,
                "text_encoder": config.learning_rates.text_encoder,
                EMBEDDINGS: config.learning_rates.embeddings,
                SINGULAR_VALUES: config.learning_rates.singular_values,
            },
            weight_decay=config.weight_decay,
        )
        return Learner(config, base, self.concept.name, engine)

    def _begun(self) -> dict[str, WeightAdapter]:
        """What is trained, as it is before the first step; the same for the same seed and concept."""
        config, method = self.config, METHODS[self.config.method]
        if issubclass(method, FreeAdapter):
            begun: dict[str, WeightAdapter] = {}
            for path, module in self.modules.items():
                rows, columns = flat_weight(module).shape
                generator = step_generator(config.seed, self.concept.name, "adapter", path)
                begun[path] = method.create((rows, columns), config.rank, generator).to(self.base.device)
            return begun
        assert self.slot is not None, f"{config.method} holds columns"
        spectrum = spectra(self.base, self.modules, self.slot.stop, on_module=lambda *_: self._check_wish())
        return {
            path: method.create(
                take_slot(spectrum[path], self.slot), train_singular_values=config.train_singular_values
            )
            for path in self.modules
        }

    def _loop(self, material: Material, accelerator: Accelerator, interruption: Interruption) -> None:
        seconds_a_step: float | None = None
        begun_at = self.step
        with self.learner.adapted():
            while self.step < self.config.steps:
                # Drawn before the next step and not after the last, so that going on from here draws what was missed.
                if self.draw_samples is not None and _due(self.config.sample_every, self.step, self.config.steps):
                    with self._keeping(), self.learner.restored():
                        self._draw_samples(self.draw_samples)
                begun = time.perf_counter()
                loss, norm = self._take_step(material, accelerator)
                seconds = time.perf_counter() - begun
                # The first step warms up allocators and libraries; it says little about the pace.
                seconds_a_step = (
                    seconds
                    if seconds_a_step is None or self.step == begun_at + 2
                    else (seconds_a_step + _PACE * (seconds - seconds_a_step))
                )
                if self.config.tensorboard:
                    accelerator.log({"loss": loss, "gradient_norm": norm}, step=self.step)
                try:
                    self._report(loss, seconds_a_step)
                except KeyboardInterrupt:
                    interruption.asked = True
                if interruption.wished:
                    self._save_checkpoint()
                    raise KeyboardInterrupt
                if _due(self.config.checkpoint_every, self.step, self.config.steps):
                    self._save_checkpoint()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Between two steps: whatever ends the work here, the steps so far are kept."""
        try:
            yield
        except BaseException as error:
            # What is not finite can never be finished, so going on from it would fail for ever.
            if not isinstance(error, AdapterFileError):
                # A disk that refused the file may still take the checkpoint; if not, the first refusal says why.
                with suppress(Exception):
                    self._save_checkpoint()
            raise

    def _check_wish(self) -> None:
        """Raises: KeyboardInterrupt: The work shall end. What has been prepared is lost, which is no step."""
        if self.should_stop is not None and self.should_stop():
            raise KeyboardInterrupt

    def _take_step(self, material: Material, accelerator: Accelerator) -> tuple[float, float]:
        """One step; returns the loss and the gradient norm. Nothing changes when the loss is not finite."""
        config = self.config
        value, norm = self.learner.learn(material, self.step, accelerator.backward)
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss of concept '{self.concept.name}' is {value} at step {self.step + 1}"
                f" (gradient norm {norm:.3g})",
                f"lower the learning rates{self._kept()}",
            )
        factor = rate_factor(self.step, config.steps, config.warmup_steps, config.lr_schedule)
        self.engine.finish(rate_factor=factor, gradient_clip=config.gradient_clip)
        self.step += 1
        return value, norm

    def _kept(self) -> str:
        return f" and go on from {self.checkpoint_path} with --resume" if self.checkpoint_path.exists() else ""

    def _report(self, loss: float, seconds_a_step: float) -> None:
        if self.on_step is not None:
            left = (self.config.steps - self.step) * seconds_a_step
            self.on_step(StepReport(self.step, self.config.steps, loss, 1 / seconds_a_step, left, self.concept.name))

    def _save_checkpoint(self) -> None:
        Checkpoint(self.step, self._owner(), self.identity, self.recipe, self.engine.state()).save(self.checkpoint_path)

    def _owner(self) -> Owner:
        name, base, fingerprints = self.concept.name, self.base.name, dict(self.base.fingerprints)
        if self.slot is None:
            return Owner(concept=name, base=base, fingerprints=fingerprints, token=self.concept.token)
        return Claim(
            concept=name,
            base=base,
            fingerprints=fingerprints,
            token=self.concept.token,
            start=self.slot.start,
            width=self.slot.width,
            capacity=capacity(self.modules, self.slot.width),
        )

    def _draw_samples(self, draw: DrawSamples) -> None:
        for number, image in enumerate(draw(self._adapter())):
            save_png(image, self.out / "samples" / self.concept.name / f"step_{self.step:06d}_{number}.png")

    def _adapter(self) -> Adapter:
        return Adapter(
            name=self.concept.name,
            method=self.config.method,
            rank=self.config.rank,
            slot=self.slot,
            base_name=self.base.name,
            fingerprints=dict(self.base.fingerprints),
            tokens=dict(self.aim.tokens),
            training=dict(self.aim.noted),
            modules={
                path: {name: tensor.cpu() for name, tensor in adapter.tensors().items()}
                for path, adapter in self.engine.adapters.items()
            },
            token_vectors={token: vectors.detach().cpu().clone() for token, vectors in self.engine.tokens.items()},
        )


def _due(every: int, step: int, steps: int) -> bool:
    return every > 0 and step % every == 0 and 0 < step < steps
