"""The pretrained model that concepts are written into: loading it and telling it from others.

Components come from diffusers and transformers as they are.
"""

import hashlib
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from spectral_diffusion.diffusion.companions import draw_companions
from spectral_diffusion.diffusion.targets import DEFAULT_PATTERNS, PATTERNS, flat_weight, matching_modules
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.toybox.world import Companion, companions
from spectral_diffusion.workspace import PACKAGE

TOYBOX = PACKAGE / "toybox" / "weights"
DEVICES = ("auto", "cpu", "cuda", "mps")
_COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_ENCODED_AT_ONCE = 8
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, eq=False)
class Base:
    """A pretrained latent-diffusion model, frozen and in evaluation mode.

    Args:
        name: `toybox`, a Hub id, or the name of the folder it came from (never its path). Only for people: a folder may
            have any name.
        unet: The denoiser.
        vae: Pictures to latents and back.
        text_encoder: Prompts to `prompt_embeds`.
        tokenizer: Never changed: concept tokens are not added to it.
        scheduler: The base's own noise schedule; samplers are made from its configuration.
        device: Where the weights are.
        dtype: What the weights are stored as.
        fingerprints: sha256 per component, see `fingerprint`.
        is_toybox: Whether it is the embedded base, which has a renderer and a scorer of its own.
        lock: Held by whoever adapts or runs the components, so that two threads cannot mix their concepts.
    """

    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Any
    device: torch.device
    dtype: torch.dtype
    fingerprints: Mapping[str, str]
    is_toybox: bool = False
    lock: Any = field(default_factory=threading.RLock, repr=False)

    @classmethod
    def from_components(
        cls,
        name: str,
        *,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: Any,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        is_toybox: bool = False,
    ) -> "Base":
        """A base of components at hand. They are frozen, moved and cast in place, after their fingerprint is taken."""
        fingerprints = {
            component: _fingerprint(component, module)
            for component, module in (("unet", unet), ("text_encoder", text_encoder))
        }
        device = torch.device(device)
        for module in (unet, vae, text_encoder):
            module.requires_grad_(False).eval()
            nn.Module.to(module, device=device, dtype=dtype)
        # Convolutions run faster with channels last, on CPU and GPU alike; the values are untouched.
        for module in (unet, vae):
            nn.Module.to(module, memory_format=torch.channels_last)
        return cls(name, unet, vae, text_encoder, tokenizer, scheduler, device, dtype, fingerprints, is_toybox)

    @property
    def components(self) -> dict[str, nn.Module]:
        """The components whose weights can be adapted, by tensor prefix."""
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    @property
    def latent_scale(self) -> int:
        """Pixels a latent on each axis (the VAE's f)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def native_size(self) -> int:
        """Side in pixels of the square pictures the base was trained on."""
        side = self.unet.config.sample_size
        return (side if isinstance(side, int) else max(side)) * self.latent_scale

    @property
    def text_length(self) -> int:
        """Positions of a prompt, with its first and last token (77)."""
        return min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)

    def pipeline(self, scheduler: Any = None) -> StableDiffusionPipeline:
        """Plain diffusers over these components, with its own scheduler (it holds the state of a run)."""
        scheduler = scheduler or type(self.scheduler).from_config(self.scheduler.config)
        with _quiet():
            pipeline = StableDiffusionPipeline(
                vae=self.vae,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                unet=self.unet,
                scheduler=scheduler,
                safety_checker=None,  # pyright: ignore[reportArgumentType]
                feature_extractor=None,  # pyright: ignore[reportArgumentType]
                requires_safety_checker=False,
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, H, W) in [-1, 1] as scaled latents (n, C, h, w): the VAE's most likely ones."""
        vae: Any = self.vae
        groups = pixels.split(_ENCODED_AT_ONCE)
        latents = [vae.encode(group.to(self.device, self.dtype)).latent_dist.mode() for group in groups]
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return (torch.cat(latents) - shift) * vae.config.scaling_factor

    def companions(
        self, count: int, seed: int, *, wide_count: int = 0, on_picture: Callable[[], object] = lambda: None
    ) -> list[Companion]:
        """Pictures of other things with captions and a free place, to set a concept beside them (cut-mix).

        The toybox renders them; any other base draws them itself from everyday prompts.

        Args:
            count: How many.
            seed: The same seed gives the same pictures.
            wide_count: How many more, after the others, on canvases half as wide again.
            on_picture: Called before each that the base draws itself, which takes a while. What it raises ends that.
        """
        side = self.native_size
        if self.is_toybox:
            return companions(count, seed, width_px=side, height_px=side, wide_count=wide_count)
        with self.lock:
            return [
                companion
                for number, width in ((count, side), (wide_count, side * 3 // 2))
                for companion in draw_companions(
                    self.pipeline(), number, seed, width_px=width, height_px=side, on_picture=on_picture
                )
            ]


def load_base(
    name: str | Path = "toybox", *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Base:
    """Load a base of the Stable Diffusion 1 or 2 family.

    Args:
        name: `toybox`, a diffusers folder, or a Hub id `owner/name`. Only a Hub id touches the network, through
            huggingface_hub, so that `HF_HOME` and `HF_HUB_OFFLINE` count.
        device: Where to put it; see `choose_device`.
        dtype: What to store weights as. Fingerprints are those of the file, whatever the dtype.

    Raises:
        InputError: There is no such base, it is of another family, its weights are missing or pickled, or the Hub
            cannot be reached.
    """
    label, source = _locate(name)
    device = choose_device(device)
    with _quiet(), _explained(label, local=Path(source).is_dir()):
        _check_family(label, StableDiffusionPipeline.load_config(source))
        loaded: Any = StableDiffusionPipeline.from_pretrained(
            source,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
            use_safetensors=True,
        )
    parts = {component: getattr(loaded, component) for component in _COMPONENTS}
    if parts["unet"].config.in_channels != parts["vae"].config.latent_channels:
        raise InputError(
            f"base {label} takes {parts['unet'].config.in_channels} input channels (an inpainting or depth model)",
            "use the plain text-to-image model of the same family",
        )
    is_toybox = Path(source).resolve() == TOYBOX.resolve()
    return Base.from_components(label, **parts, device=device, dtype=dtype, is_toybox=is_toybox)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device to work on: `auto` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: An unknown name, or a device this machine lacks.
    """
    if isinstance(name, torch.device):
        return name
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, present in available.items() if present)
    kind = name.split(":")[0]
    if kind not in available:
        raise InputError(f"unknown device '{name}'", f"choose one of {', '.join(DEVICES)}")
    if not available[kind]:
        raise InputError(f"this machine has no {kind} device that torch can use", "choose --device auto or cpu")
    return torch.device(name)


def target_modules(
    base: Base, components: Sequence[str] = ("unet",), patterns: Sequence[str] = DEFAULT_PATTERNS
) -> dict[str, nn.Module]:
    """The modules an adapter changes, by path, in order of path.

    Args:
        base: The model.
        components: Any of `unet`, `text_encoder`.
        patterns: Any of `attention`, `feed_forward`, `projection`, `convolution`; see `targets.matching_modules`.

    Raises:
        InputError: An unknown component or pattern, or nothing matches.
    """
    for given, known in ((components, base.components), (patterns, PATTERNS)):
        unknown = [item for item in given if item not in known]
        if unknown:
            raise InputError(f"unknown target '{unknown[0]}'", f"choose from {', '.join(known)}")
    found = {
        f"{component}.{path}": module
        for component in sorted(set(components))
        for path, module in matching_modules(component, base.components[component], patterns).items()
    }
    if not found:
        raise InputError(
            f"no weight of {', '.join(components) or 'no component'} matches {', '.join(patterns) or 'no pattern'}",
            "target at least unet attention",
        )
    return found


def fingerprint(base: Base) -> dict[str, str]:
    """What tells this base from others: sha256 per component.

    Hashed are the values of all attention and feed-forward Linear weights, whatever an adapter targets, cast to
    float16, in order of module path. So a folder stored in float16 and its float32 original agree, as two copies do.
    """
    return dict(base.fingerprints)


def capacity(modules: Mapping[str, nn.Module], width: int) -> int:
    """How many slots of `width` columns the narrowest of these weights holds.

    Raises:
        SlotError: Not even one.
    """
    narrowest = min(min(flat_weight(module).shape) for module in modules.values())
    if width < 1 or narrowest < width:
        raise SlotError(
            f"a slot of {width} columns does not fit: the narrowest weight has {narrowest} columns",
            f"choose a rank from 1 to {narrowest}",
        )
    return narrowest // width


def _fingerprint(component: str, root: nn.Module) -> str:
    digest = hashlib.sha256()
    for module in matching_modules(component, root, DEFAULT_PATTERNS).values():
        digest.update(flat_weight(module).to(torch.float16).contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _locate(name: str | Path) -> tuple[str, str]:
    """The base's public name and what diffusers loads it from."""
    text = str(name)
    if text == "toybox":
        if not (TOYBOX / "model_index.json").is_file():
            raise InputError(
                "this installation lacks the toybox weights", "install again: pip install --force-reinstall ."
            )
        return text, str(TOYBOX)
    folder = Path(text)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise InputError(
                f"{folder} is not a diffusers model folder: it has no model_index.json",
                "name the folder that StableDiffusionPipeline.save_pretrained wrote",
            )
        return folder.resolve().name, str(folder)
    if folder.is_file():
        raise InputError(
            f"{folder} is a single file; bases are read as diffusers folders",
            "convert it once: StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)",
        )
    if isinstance(name, str) and _HUB_ID.fullmatch(text) and not text.startswith("."):
        return text, text
    raise InputError(f"there is no base '{text}'", "name toybox, a diffusers folder, or a Hub id such as owner/model")


def _check_family(label: str, index: Any) -> None:
    missing = [component for component in _COMPONENTS if component not in index]
    if missing or "text_encoder_2" in index or "controlnet" in index:
        raise InputError(
            f"base {label} is a {index.get('_class_name', 'model of another kind')}, which is not supported",
            "use a Stable Diffusion 1.x or 2.x text-to-image model, or toybox",
        )


@contextmanager
def _explained(label: str, local: bool) -> Iterator[None]:
    """What the libraries raise when a base cannot be had, said in one line."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        said = " ".join(str(error).split())
        said = said if len(said) < 200 else said[:200] + " ..."
        if local:
            raise InputError(
                f"base {label} cannot be loaded ({said})",
                "the folder is incomplete or damaged; copy it again, with weights as .safetensors",
            ) from error
        raise InputError(
            f"base {label} is neither a folder here nor could it be had from the Hugging Face Hub ({said})",
            f"check the name and the connection, unset HF_HUB_OFFLINE, or fetch it once with: hf download {label}",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and advice of the libraries while components load from disk; downloads keep their own bars."""
    libraries: tuple[Any, ...] = (diffusers.utils.logging, transformers.utils.logging)
    shown = [library.is_progress_bar_enabled() for library in libraries]
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, bar, level in zip(libraries, shown, levels, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
