"""Cut-mix: the concept's cut-out set beside other things, with a caption that names all from left to right.

It teaches that the token means one thing among others, which is what fused concepts need (after Cut-Mix-Unmix of
SVDiff, Han et al. 2023, arXiv:2303.11305).
"""

from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from spectral_diffusion.images import to_tensor
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.toybox.world import CONCEPT, Companion, compose_with


class Composition(NamedTuple):
    """A picture with the concept in it.

    Args:
        pixels: (3, H, W) in [-1, 1].
        mask: (H, W) in [0, 1], 1 on the concept.
        captions: To choose from; each names the concept by its token.
        plain_captions: The same, naming it by its class word.
    """

    pixels: Tensor
    mask: Tensor
    captions: tuple[str, ...]
    plain_captions: tuple[str, ...]


def cut_out(image: Image.Image, mask: Tensor) -> Tensor | None:
    """The concept alone.

    Args:
        image: RGB.
        mask: (H, W) in [0, 1], 1 on the concept.

    Returns:
        uint8 (4, H, W), straight alpha; None where the mask tells nothing: all of the picture, or none of it.
    """
    # A pixel that is mostly background carries its colour, which would stand around the concept as a halo.
    alpha = (2 * mask - 1).clamp(0, 1)
    if float(mask.min()) > 0.5 or float(alpha.max()) < 0.5:
        return None
    rgba = torch.cat([(to_tensor(image) + 1) / 2, alpha[None]])
    return (rgba * 255).round().to(torch.uint8)


def cut_mix(
    companion: Companion, concept: Tensor, token: str, class_word: str, *, mirrored: bool = False
) -> Composition:
    """Set a concept into a companion's free place.

    Args:
        companion: The scene.
        concept: A `cut_out`.
        token: What the captions call it.
        class_word: What the plain captions call it.
        mirrored: Set it in mirrored.
    """
    image, mask = compose_with(companion, concept.flip(2) if mirrored else concept)
    captions, plain_captions = (
        tuple(template.replace(CONCEPT, name) for template in companion.caption_templates)
        for name in (token, with_article(class_word))
    )
    return Composition(image.float() / 127.5 - 1, mask[0].float() / 255, captions, plain_captions)
