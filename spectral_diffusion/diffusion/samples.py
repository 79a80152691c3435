"""Pictures drawn while a concept is still being learned."""

from PIL import Image

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.config import Config
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.pipeline import generate
from spectral_diffusion.diffusion.training import DrawSamples
from spectral_diffusion.fusion import fuse


def sampler(base: Base, config: Config) -> DrawSamples | None:
    """Draws a half-trained concept by the recipe; None where the recipe asks for no samples."""
    recipe = config.generation
    if not config.training.sample_every:
        return None

    def draw(adapter: Adapter) -> list[Image.Image]:
        drawn = generate(
            base,
            fuse([adapter]),
            f"a photo of {next(iter(adapter.tokens))}",
            negative_prompt=recipe.negative_prompt,
            seed=config.training.seed,
            steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            width_px=recipe.width_px,
            height_px=recipe.height_px,
        )
        return [picture.image for picture in drawn]

    return draw
