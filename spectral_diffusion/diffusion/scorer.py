"""The CLIP that judges pictures: any model of open_clip, and toybox's own."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageStat

from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import PACKAGE

TOYBOX_SCORER = PACKAGE / "toybox" / "weights" / "clip"
DEFAULT_SCORER = "ViT-B-32:openai"


class Scorer:
    """A CLIP model that turns pictures and texts into vectors of unit length; their dot product is the alignment.

    Args:
        name: What it is called in reports.
        model: An open_clip model in evaluation mode.
        tokenizer: Its tokenizer: list of texts to (n, context) token ids.
        preprocess: Its picture transform: RGB picture to (3, H, W).
        device: Where the model is.
        crops: Whether `preprocess` cuts a picture that is not square down to its middle, as most CLIPs do. Such a
            picture is padded first, so that nothing at its edges goes unseen.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Callable[[list[str]], torch.Tensor],
        preprocess: Callable[[Image.Image], torch.Tensor],
        device: torch.device | str = "cpu",
        *,
        crops: bool = True,
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.device = torch.device(device)
        self.crops = crops

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image], batch_size: int = 32) -> torch.Tensor:
        """(n, width) float32 unit vectors on the CPU, of whole pictures: nothing is cut off."""
        batches = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            if self.crops:
                batch = [padded_square(image) for image in batch]
            pixels = torch.stack([self.preprocess(image) for image in batch])
            batches.append(self.model.encode_image(pixels.to(self.device), normalize=True).float().cpu())
        return torch.cat(batches)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, width) float32 unit vectors on the CPU."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        return self.model.encode_text(tokens, normalize=True).float().cpu()


class OnceScorer(Scorer):
    """A scorer that looks at every picture once, however often it is asked: same pixels, same vector.

    Args:
        scorer: Who looks.
    """

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(
            scorer.name, scorer.model, scorer.tokenizer, scorer.preprocess, scorer.device, crops=scorer.crops
        )
        self._seen: dict[tuple[tuple[int, int], bytes], torch.Tensor] = {}

    def embed_images(self, images: Sequence[Image.Image], batch_size: int = 32) -> torch.Tensor:
        """As a `Scorer` does."""
        keys = [(image.size, hashlib.sha256(image.convert("RGB").tobytes()).digest()) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._seen}
        if new:
            self._seen |= zip(new, super().embed_images(list(new.values()), batch_size), strict=True)
        return torch.stack([self._seen[key] for key in keys])


def default_scorer(*, toybox: bool) -> str:
    """Name of the scorer that belongs to a base: toybox has its own, all others the paper's ViT-B-32 of OpenAI."""
    return "toybox" if toybox else DEFAULT_SCORER


def load_scorer(name: str = "toybox", *, device: torch.device | str = "cpu") -> Scorer:
    """Load a CLIP through open_clip.

    Args:
        name: `toybox`; a folder with `open_clip_config.json` and its checkpoint; `MODEL:TAG` (`ViT-B-32:openai`);
            `MODEL:FILE` with a local checkpoint; or `hf-hub:ORGANISATION/NAME`.
        device: Where it shall run.

    Raises:
        InputError: No such model, or it is not on this machine and cannot be fetched; the remedy says how to get it.
    """
    folder = TOYBOX_SCORER if name == "toybox" else Path(name)
    if name == "toybox" and not (folder / "open_clip_config.json").is_file():
        raise InputError(
            "toybox's own scorer is missing from this installation", "install again, or name another with --scorer"
        )
    # Reports travel; of a local path only its last part is told in them.
    if folder.is_dir():
        identifier, pretrained, label = f"local-dir:{folder}", None, name if name == "toybox" else folder.resolve().name
    elif name.startswith("hf-hub:"):
        identifier, pretrained, label = name, None, name
    else:
        identifier, _, tag = name.partition(":")
        pretrained = _known_weights(name, identifier, tag)
        label = f"{identifier}:{Path(tag).name}"
    # Imported late: open_clip takes seconds, and drawing does not need it.
    import open_clip

    with warnings.catch_warnings(), _quiet_root_logger():
        warnings.simplefilter("ignore")
        try:
            loaded: Any = open_clip.create_model_from_pretrained(identifier, pretrained, device=device)
            tokenizer: Any = open_clip.get_tokenizer(identifier)
        except Exception as error:  # open_clip, the hub and torch raise whatever they like
            raise _not_loadable(name, folder.is_dir() or Path(pretrained or "").is_file(), error) from error
    model, preprocess = loaded
    crops = getattr(model.visual, "preprocess_cfg", {}).get("resize_mode", "shortest") == "shortest"
    return Scorer(label, model.eval(), tokenizer, preprocess, device, crops=crops)


def _known_weights(name: str, model: str, tag: str) -> str:
    import open_clip

    if model not in open_clip.list_models():
        raise InputError(
            f"there is no scorer '{name}'",
            f"use toybox, {DEFAULT_SCORER}, any MODEL:TAG of open_clip, MODEL:FILE or a folder in its format",
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag in tags or Path(tag).is_file():
        return tag
    raise InputError(
        f"scorer '{name}' names no weights of {model}", f"write {model}: and one of {', '.join(tags)}, or a local file"
    )


def _not_loadable(name: str, local: bool, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    if local:
        return InputError(f"the scorer '{name}' cannot be loaded: {reason}", "check its configuration and checkpoint")
    return InputError(
        f"the scorer '{name}' is not on this machine and could not be fetched ({reason})",
        "run this once with a network and HF_HUB_OFFLINE unset, or name a local one: --scorer ViT-B-32:FILE",
    )


class _quiet_root_logger:
    """open_clip tells its progress as log records of the root logger; ours are told in words for people."""

    def __enter__(self) -> None:
        self._level = logging.getLogger().level
        logging.getLogger().setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().setLevel(self._level)


def padded_square(image: Image.Image) -> Image.Image:
    """The picture in the middle of a square of its mean colour."""
    if image.width == image.height:
        return image
    side = max(image.size)
    mean = tuple(round(channel) for channel in ImageStat.Stat(image.convert("RGB")).mean)
    square = Image.new("RGB", (side, side), mean)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
