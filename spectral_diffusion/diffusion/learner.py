"""A concept in learning: its engine on a base, and what a batch says of the trainables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.attach import attach_layers
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.engine import Engine
from spectral_diffusion.diffusion.material import Batch, Material, draw_batch, step_generator
from spectral_diffusion.diffusion.objective import add_noise, draw_noise, masked_loss, min_snr_weights, target
from spectral_diffusion.diffusion.prompts import encode_prompts, join_layers
from spectral_diffusion.diffusion.targets import cross_attention_paths


class Learner:
    """The gradient of one step after another, for one concept.

    Args:
        config: The recipe.
        base: The model; it is adapted inside `adapted()` only.
        name: The concept's, from which its random numbers follow.
        engine: Its trainables.
    """

    def __init__(self, config: TrainingConfig, base: Base, name: str, engine: Engine) -> None:
        self.config, self.base, self.name, self.engine = config, base, name, engine
        self._attached = ExitStack()

    @contextmanager
    def adapted(self) -> Iterator[None]:
        """The base with the trainables at work in it."""
        self._attached = ExitStack()
        with self._attached:
            self._attach()
            yield

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside `adapted()`: the base as it was, for a while."""
        self._attached.close()
        yield
        self._attach()

    def learn(self, material: Material, step: int, backward: Callable[[Tensor], object]) -> tuple[float, float]:
        """Fill the engine with the gradient of a step's batch; nothing is updated.

        The batch goes through the model in parts of `micro_batch_size` samples. Random numbers and weights are those of
        the whole, so the parts' gradients add up to its gradient, but for rounding.

        Args:
            material: What there is to learn from.
            step: Number of the step, from 0.
            backward: How to go back from a loss, a scalar.

        Returns:
            The loss and the gradient norm.
        """
        config, base = self.config, self.base
        batch = draw_batch(material, config, step, self.name)
        generator = step_generator(config.seed, self.name, "noise", step)
        noise = draw_noise(batch.latents.shape, config.noise_offset, generator)
        schedule = base.scheduler.alphas_cumprod
        timesteps = torch.randint(len(schedule), (len(noise),), generator=generator)
        alphas = schedule[timesteps].to(base.device, torch.float32)
        noise, timesteps = noise.to(base.device), timesteps.to(base.device)
        latents = batch.latents.float()
        prediction_type = base.scheduler.config.prediction_type

        noisy = add_noise(latents, noise, alphas).to(base.dtype)
        wanted = self.keep(target(latents, noise, alphas, prediction_type), batch, noisy, timesteps)
        weights = batch.sample_weights.to(base.device) * min_snr_weights(alphas, config.min_snr_gamma, prediction_type)
        self.engine.begin()
        value = 0.0
        for part in self._parts(len(noisy)):
            prompt_embeds = self._encode(batch.captions[part])
            predicted = base.unet(noisy[part], timesteps[part], encoder_hidden_states=prompt_embeds).sample
            # The mean over a part counts as much as the part is of the batch.
            share = len(predicted) / len(noisy)
            loss = share * masked_loss(predicted, wanted[part], batch.pixel_weights[part], weights[part])
            backward(loss)
            value += float(loss.detach())
        return value, float(torch.linalg.vector_norm(self.engine.flat.gradient))

    @torch.no_grad()
    def keep(self, wanted: Tensor, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The target, which outside the concept is what the base draws there when told of it by its class word.

        So a change learns to leave alone what is not its concept; the pictures' own noise would teach it the same only
        in the mean over very many steps.

        Args:
            wanted: (B, C, h, w), the target everywhere else.
            batch: The samples.
            noisy: (B, C, h, w), what the base is given.
            timesteps: (B,).
        """
        if batch.kept is None:
            return wanted
        rows = [row for row, caption in enumerate(batch.plain_captions) if caption is not None]
        captions = [caption for caption in batch.plain_captions if caption is not None]
        wanted = wanted.clone()
        with self.restored():
            for part in self._parts(len(rows)):
                some = rows[part]
                prompt_embeds = encode_prompts(self.base, captions[part], {})
                drawn = self.base.unet(noisy[some], timesteps[some], encoder_hidden_states=prompt_embeds).sample
                wanted[some] = torch.lerp(wanted[some], drawn.to(wanted.dtype), batch.kept[some])
        return wanted

    def _encode(self, captions: Sequence[str]) -> Tensor:
        """Prompt embeddings as the adapted denoiser takes them."""
        embeds = encode_prompts(self.base, captions, self.engine.tokens)
        if self.config.layerwise_tokens and embeds.ndim == 3:
            # None of these captions names the token, so that all layers see the same.
            embeds = embeds.repeat(len(cross_attention_paths(self.base.unet)), 1, 1, 1)
        return join_layers(embeds) if embeds.ndim == 4 else embeds

    def _parts(self, count: int) -> Iterator[slice]:
        size = self.config.micro_batch_size or count
        return (slice(start, start + size) for start in range(0, count, size))

    def _attach(self) -> None:
        self._attached.enter_context(self.engine)
        if self.config.layerwise_tokens:
            self._attached.enter_context(attach_layers(self.base.unet))
