"""One concept's training: the loop, what it keeps, how it stops and goes on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from spectral_diffusion.adapters import METHODS, Adapter, TokenInfo
from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.accelerated import accelerated
from spectral_diffusion.diffusion.attach import attach_layers
from spectral_diffusion.diffusion.base import Base, capacity
from spectral_diffusion.diffusion.checkpoints import (
    Checkpoint,
    adapter_path,
    checkpoint_path,
    damaged,
    identify,
    tell_photographs,
)
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.engine import EMBEDDINGS, SINGULAR_VALUES, Engine
from spectral_diffusion.diffusion.interruption import Interruption
from spectral_diffusion.diffusion.material import Batch, Material, draw_batch, prepare, step_generator
from spectral_diffusion.diffusion.objective import (
    add_noise,
    draw_noise,
    masked_loss,
    min_snr_weights,
    rate_factor,
    target,
)
from spectral_diffusion.diffusion.prompts import encode_prompts, join_layers, word_vectors
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.diffusion.targets import cross_attention_paths
from spectral_diffusion.errors import InputError, TrainingError
from spectral_diffusion.images import save_png
from spectral_diffusion.ledger import Claim
from spectral_diffusion.spectrum import ColumnSlot, take_slot

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
    """The training of one concept in one slot, from its photographs to its adapter file.

    Args:
        config: The recipe.
        base: The model.
        concept: What to learn.
        slot: The columns it owns.
        modules: The weights to adapt, by path.
        out: Folder of the adapter file.
        on_step: Told after every step.
        draw_samples: Draws with the half-trained adapter, the base being as it was.
    """

    def __init__(
        self,
        config: TrainingConfig,
        base: Base,
        concept: Concept,
        slot: ColumnSlot,
        modules: dict[str, nn.Module],
        out: Path,
        on_step: Callable[[StepReport], None] | None,
        draw_samples: DrawSamples | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.config, self.base, self.concept, self.slot, self.modules = config, base, concept, slot, modules
        self.out, self.on_step, self.draw_samples = out, on_step, draw_samples
        self.should_stop = should_stop
        self.checkpoint_path = checkpoint_path(out, concept)
        self.identity = identify(config, base, concept, slot)
        self.noted = {
            **config.model_dump(mode="json"),
            "photographs": tell_photographs(concept),
            "description": concept.words,
        }
        self.vectors = word_vectors(base, concept.words, config.vectors_per_token)
        self.tokens = {concept.token: TokenInfo(class_word=concept.class_word, vectors=len(self.vectors))}
        self.step = 0

    def finished(self) -> Adapter | None:
        """The adapter, if it was trained to the end already: from these photographs, by this recipe, in this slot."""
        path = adapter_path(self.out, self.concept)
        if self.checkpoint_path.exists() or not path.exists():
            return None
        adapter = Adapter.load(path)
        same = (
            adapter.training == self.noted
            and adapter.slot == self.slot
            and adapter.fingerprints == dict(self.base.fingerprints)
            and adapter.tokens == self.tokens
        )
        return adapter if same else None

    def train(self, resume: bool) -> Adapter:
        """From the first step, or from the checkpoint, to the adapter file."""
        with self.base.lock, accelerated(self.base.device, self.config, self.out) as accelerator:
            self.engine = self._engine()
            if resume and self.checkpoint_path.exists():
                checkpoint = Checkpoint.load(self.checkpoint_path, self.identity)
                try:
                    self.engine.load_state(checkpoint.state)
                except ValueError as error:
                    raise damaged(self.checkpoint_path, error) from error
                self.step = checkpoint.step
                if self.step > self.config.steps:
                    raise InputError(
                        f"the checkpoint of {self.concept.name} is at step {self.step}, {self.config.steps} were asked",
                        "ask for more steps, or train anew without --resume",
                    )
            material = prepare(self.base, self.concept, self.config)
            if not resume:
                # A checkpoint of an earlier attempt is no longer one of this training.
                self.checkpoint_path.unlink(missing_ok=True)
            if self.config.tensorboard:
                accelerator.init_trackers(self.concept.name)
            with Interruption(self.should_stop) as interruption:
                self._loop(material, accelerator, interruption)
            adapter = self._adapter()
            try:
                adapter.save(adapter_path(self.out, self.concept))
            except InputError:
                # The disk that refused the adapter may still take the checkpoint, or take it after a retry.
                self._save_checkpoint()
                raise
            self.checkpoint_path.unlink(missing_ok=True)
            return adapter

    def _engine(self) -> Engine:
        config, base = self.config, self.base
        columns = spectra(base, self.modules, self.slot.stop)
        method = METHODS[config.method]
        adapters = {
            path: method.create(take_slot(columns[path], self.slot), train_singular_values=config.train_singular_values)
            for path in self.modules
        }
        vectors = self.vectors.to(base.device, copy=True)
        if config.layerwise_tokens:
            vectors = vectors.repeat(len(cross_attention_paths(base.unet)), 1, 1)
        return Engine(
            base.components,
            adapters,
            {self.concept.token: nn.Parameter(vectors)},
            {
                "unet": config.learning_rates.unet,
                "text_encoder": config.learning_rates.text_encoder,
                EMBEDDINGS: config.learning_rates.embeddings,
                SINGULAR_VALUES: config.learning_rates.singular_values,
            },
            weight_decay=config.weight_decay,
        )

    def _loop(self, material: Material, accelerator: Accelerator, interruption: "Interruption") -> None:
        seconds_a_step: float | None = None
        with self._adapted():
            while self.step < self.config.steps:
                begun = time.perf_counter()
                loss, norm = self._take_step(material, accelerator)
                seconds = time.perf_counter() - begun
                # The first step warms up allocators and libraries; it says little about the pace.
                seconds_a_step = (
                    seconds
                    if seconds_a_step is None or self.step == 2
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
                if self.draw_samples is not None and _due(self.config.sample_every, self.step, self.config.steps):
                    with self._restored():
                        self._draw_samples()

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        self._attached = ExitStack()
        with self._attached:
            self._attach()
            yield

    def _attach(self) -> None:
        self._attached.enter_context(self.engine)
        if self.config.layerwise_tokens:
            self._attached.enter_context(attach_layers(self.base.unet))

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """The base as it was, for a while."""
        self._attached.close()
        yield
        self._attach()

    def _take_step(self, material: Material, accelerator: Accelerator) -> tuple[float, float]:
        """One step; returns the loss and the gradient norm. Nothing changes when the loss is not finite."""
        config, base = self.config, self.base
        batch = draw_batch(material, config, self.step, self.concept.name)
        generator = step_generator(config.seed, self.concept.name, "noise", self.step)
        noise = draw_noise(batch.latents.shape, config.noise_offset, generator)
        schedule = base.scheduler.alphas_cumprod
        timesteps = torch.randint(len(schedule), (len(noise),), generator=generator)
        alphas = schedule[timesteps].to(base.device, torch.float32)
        noise, timesteps = noise.to(base.device), timesteps.to(base.device)
        latents = batch.latents.float()
        prediction_type = base.scheduler.config.prediction_type

        noisy = add_noise(latents, noise, alphas).to(base.dtype)
        wanted = self._keep(target(latents, noise, alphas, prediction_type), batch, noisy, timesteps)
        self.engine.begin()
        prompt_embeds = encode_prompts(base, batch.captions, self.engine.tokens)
        if prompt_embeds.ndim == 4:
            prompt_embeds = join_layers(prompt_embeds)
        predicted = base.unet(noisy, timesteps, encoder_hidden_states=prompt_embeds).sample
        loss = masked_loss(
            predicted,
            wanted,
            batch.pixel_weights,
            batch.sample_weights.to(base.device) * min_snr_weights(alphas, config.min_snr_gamma, prediction_type),
        )
        accelerator.backward(loss)
        value = float(loss.detach())
        norm = float(torch.linalg.vector_norm(self.engine.flat.gradient))
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

    @torch.no_grad()
    def _keep(self, wanted: Tensor, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The target, which outside the concept is what the base draws there when told of it by its class word.

        So a change learns to leave alone what is not its concept; the pictures' own noise would teach it the same only
        in the mean over very many steps.
        """
        if batch.kept is None:
            return wanted
        rows = [row for row, caption in enumerate(batch.plain_captions) if caption is not None]
        captions = [caption for caption in batch.plain_captions if caption is not None]
        with self._restored():
            prompt_embeds = encode_prompts(self.base, captions, {})
            drawn = self.base.unet(noisy[rows], timesteps[rows], encoder_hidden_states=prompt_embeds).sample
        wanted = wanted.clone()
        wanted[rows] = torch.lerp(wanted[rows], drawn.to(wanted.dtype), batch.kept[rows])
        return wanted

    def _kept(self) -> str:
        return f" and go on from {self.checkpoint_path} with --resume" if self.checkpoint_path.exists() else ""

    def _report(self, loss: float, seconds_a_step: float) -> None:
        if self.on_step is not None:
            left = (self.config.steps - self.step) * seconds_a_step
            self.on_step(StepReport(self.step, self.config.steps, loss, 1 / seconds_a_step, left, self.concept.name))

    def _save_checkpoint(self) -> None:
        claim = Claim(
            concept=self.concept.name,
            base=self.base.name,
            fingerprints=dict(self.base.fingerprints),
            start=self.slot.start,
            width=self.slot.width,
            token=self.concept.token,
            capacity=capacity(self.modules, self.slot.width),
        )
        Checkpoint(self.step, claim, self.identity, self.engine.state()).save(self.checkpoint_path)

    def _draw_samples(self) -> None:
        assert self.draw_samples is not None
        for number, image in enumerate(self.draw_samples(self._adapter())):
            save_png(image, self.out / "samples" / self.concept.name / f"step_{self.step:06d}_{number}.png")

    def _adapter(self) -> Adapter:
        return Adapter(
            name=self.concept.name,
            method=self.config.method,
            rank=self.config.rank,
            slot=self.slot,
            base_name=self.base.name,
            fingerprints=dict(self.base.fingerprints),
            tokens=self.tokens,
            training=self.noted,
            modules={
                path: {name: tensor.cpu() for name, tensor in adapter.tensors().items()}
                for path, adapter in self.engine.adapters.items()
            },
            token_vectors={token: vectors.detach().cpu().clone() for token, vectors in self.engine.tokens.items()},
        )


def _due(every: int, step: int, steps: int) -> bool:
    return every > 0 and step % every == 0 and step < steps
