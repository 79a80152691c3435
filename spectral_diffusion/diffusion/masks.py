"""Where the concept is in a photograph without a mask file: GrabCut, or the base's own cross-attention.

Both are compared with true masks of renders by `benchmarks/masks/measure.py`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.prompts import encode_prompts
from spectral_diffusion.images import to_tensor

# A concept that fills less or more of the picture than this was not found.
PLAUSIBLE_SHARE = (0.03, 0.9)
# Shares of the noise schedule at which the attention is read: early steps lay out the picture, late ones paint it.
_NOISE_LEVELS = (0.25, 0.4, 0.55)
_GRABCUT_ROUNDS = 5
# Photographers put the concept in the middle: how far from there it may be, as a share of the picture (sigma). A part
# of the cut needs this share of the main one's weight; a hole of up to this share of its area is an eye or a button.
_MIDDLE, _PART, _HOLE = 0.3, 0.25, 0.04
_GRABCUT_SIDE_PX = 256


def concept_mask(base: Base, image: Image.Image, class_word: str, method: str = "auto") -> Tensor:
    """The mask of a concept in a picture.

    Args:
        base: Whose cross-attention is read when needed.
        image: RGB.
        class_word: What is looked for.
        method: `grabcut`, `attention`, `none` (the whole picture), or `auto`: GrabCut from the middle of the picture;
            where that finds nothing plausible, GrabCut from the attention; else the attention alone.

    Returns:
        (H, W) float32, 1 on the concept and 0 elsewhere; the whole picture when nothing plausible was found.
    """
    mask = grabcut_mask(image) if method in ("grabcut", "auto") else None
    if mask is None and method in ("attention", "auto"):
        attention = attention_map(base, image, class_word)
        mask = grabcut_mask(image, attention) if method == "auto" else None
        if mask is None:
            mask = _plausible(_threshold(attention))
    return torch.ones(image.height, image.width) if mask is None else mask


def grabcut_mask(image: Image.Image, attention: Tensor | None = None) -> Tensor | None:
    """Foreground by GrabCut (Rother et al. 2004): colour models of inside and outside, and a cut between them.

    Args:
        image: RGB.
        attention: (H, W) in [0, 1] where the concept probably is; without it, everything but a margin of 6 %.

    Returns:
        (H, W) float32, or None when the cut takes (nearly) nothing or (nearly) everything.
    """
    scale = min(1.0, _GRABCUT_SIDE_PX / max(image.size))
    width, height = max(16, round(image.width * scale)), max(16, round(image.height * scale))
    pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BOX))
    margin_x, margin_y = max(1, round(width * 0.06)), max(1, round(height * 0.06))
    margin = np.ones((height, width), dtype=bool)
    margin[margin_y : height - margin_y, margin_x : width - margin_x] = False
    if attention is None:
        labels = np.where(margin, cv2.GC_BGD, cv2.GC_PR_FGD).astype(np.uint8)
    else:
        small = F.interpolate(attention[None, None], (height, width), mode="area")[0, 0]
        likely = _threshold(small).numpy() > 0.5
        labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        # Little attention does not make a background: it fades towards the concept's edges.
        labels[margin & ~likely] = cv2.GC_BGD
        labels[(small > 0.9).numpy()] = cv2.GC_FGD
    if not (np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() and np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any()):
        return None
    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            cut = thread.submit(_cut, np.ascontiguousarray(pixels[..., ::-1]), labels).result()
    except cv2.error:
        # Raised when one of the colour models has no pixels left, as in a picture of one colour.
        return None
    found = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    found = _tidied(cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    mask = F.interpolate(torch.from_numpy(found)[None, None], image.size[::-1], mode="bilinear")[0, 0]
    return _plausible((mask > 0.5).float())


def _cut(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """GrabCut itself, for a thread of its own.

    It starts its colour clusters from OpenCV's random numbers, and the same picture shall give the same mask. They
    belong to a thread and cannot be read, so the caller's could not be put back.
    """
    cv2.setRNGSeed(0)
    inner, outer, unused = np.zeros((1, 65)), np.zeros((1, 65)), (0, 0, 1, 1)
    return cv2.grabCut(pixels, labels, unused, inner, outer, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)[0]


@torch.no_grad()
def attention_map(base: Base, image: Image.Image, class_word: str) -> Tensor:
    """Where the base sees the class word: its cross-attention while it denoises the picture, mean over heads, layers
    and noise levels.

    Args:
        base: Any base.
        image: RGB; scaled to the base's native size for reading.
        class_word: What is looked for, one word or more.

    Returns:
        (H, W) float32 of the picture's size, scaled to [0, 1].
    """
    prompt = f"a photo of a {class_word}"
    side = base.native_size
    pixels = to_tensor(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    latents = base.encode_pixels(pixels[None])
    prompt_embeds = encode_prompts(base, [prompt], {})
    words = _positions(base, prompt, class_word)
    alphas = base.scheduler.alphas_cumprod
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
    total = torch.zeros(1, 1, side // base.latent_scale, side // base.latent_scale)
    for level in _NOISE_LEVELS:
        timestep = round(level * (len(alphas) - 1))
        signal = float(alphas[timestep])
        noisy = signal**0.5 * latents + (1 - signal) ** 0.5 * noise
        with _recorded(base.unet, words) as maps:
            base.unet(noisy, torch.tensor([timestep], device=base.device), encoder_hidden_states=prompt_embeds)
        for heads in maps:
            height = width = round(heads.shape[-1] ** 0.5)
            layer = heads.mean(0).view(1, 1, height, width)
            layer = layer / layer.mean().clamp(min=1e-12)
            total += F.interpolate(layer, total.shape[-2:], mode="bilinear")
    found = F.interpolate(total, image.size[::-1], mode="bicubic")[0, 0]
    low, high = torch.quantile(found[::2, ::2].flatten()[: 2**22], torch.tensor([0.02, 0.98]))
    return ((found - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


class _Recorder:
    """Plain attention that keeps how much each pixel looks at some words: (batch x heads, pixels) a call."""

    def __init__(self, words: list[int], maps: list[Tensor]) -> None:
        self.words, self.maps = words, maps

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(part) for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        scores = attn.get_attention_scores(query, key)
        self.maps.append(scores[..., self.words].sum(-1).float().cpu())
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(scores @ value)))


@contextmanager
def _recorded(unet: UNet2DConditionModel, words: list[int]) -> Iterator[list[Tensor]]:
    """Cross-attention to the given text positions, of every layer in the order of the calls."""
    maps: list[Tensor] = []
    before = {name: module.processor for name, module in _cross_attentions(unet).items()}
    try:
        for module in _cross_attentions(unet).values():
            module.processor = _Recorder(words, maps)
        yield maps
    finally:
        for name, module in _cross_attentions(unet).items():
            module.processor = before[name]


def _cross_attentions(unet: UNet2DConditionModel) -> dict[str, Any]:
    return {name: module for name, module in unet.named_modules() if name.endswith(".attn2")}


def _positions(base: Base, prompt: str, words: str) -> list[int]:
    """Text positions of the words at the prompt's end."""
    whole = base.tokenizer(prompt, truncation=True, max_length=base.text_length).input_ids
    count = len(base.tokenizer(words, add_special_tokens=False).input_ids)
    last = len(whole) - 1  # the end-of-text token follows the words
    return list(range(max(1, last - count), last))


def _threshold(values: Tensor) -> Tensor:
    """Otsu's threshold: the one that parts the values into two groups that differ most."""
    grey = (values * 255).round().to(torch.uint8).numpy()
    _, parted = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return torch.from_numpy(parted).float()


def _tidied(found: np.ndarray) -> np.ndarray:
    """Without parts that are small beside the main one, or far from the middle, and without small holes."""
    height, width = found.shape
    y, x = np.mgrid[0:height, 0:width]
    middle = np.exp(-(((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2) / (2 * _MIDDLE**2))
    _, parts = cv2.connectedComponents(found)
    weights = np.bincount(parts.ravel(), weights=middle.ravel())
    weights[0] = 0
    kept = (weights >= _PART * weights.max())[parts] & (parts > 0)
    _, holes = cv2.connectedComponents((~kept).astype(np.uint8))
    areas = np.bincount(holes.ravel())
    small = areas <= _HOLE * kept.sum()
    # Part 0 is the concept itself, and what touches the border is outside of it.
    small[np.unique(np.concatenate([holes[[0, -1]].ravel(), holes[:, [0, -1]].ravel()]))] = False
    small[0] = False
    return (kept | small[holes]).astype(np.float32)


def _plausible(mask: Tensor) -> Tensor | None:
    share = float(mask.mean())
    return mask if PLAUSIBLE_SHARE[0] <= share <= PLAUSIBLE_SHARE[1] else None
