"""What is known about the model, its recipe and the libraries, as names with values for people."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from spectral_diffusion import __version__
from spectral_diffusion.config import Config
from spectral_diffusion.studio.parts.progress_line import duration

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.facts import BaseFacts

_LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "open_clip_torch", "gradio", "dbos")
_SAMPLERS = {"dpm-solver++": "DPM-Solver++"}


def about_model(facts: "BaseFacts") -> dict[str, str]:
    """The model itself and the device it is on."""
    total = sum(facts.parameters.values())
    parts = ", ".join(f"{name.replace('_', ' ')} {_millions(count)}" for name, count in facts.parameters.items())
    return {
        "Base": facts.name,
        "Parameters": f"{_millions(total)} ({parts}), {bytes_words(facts.weights_bytes)}",
        "Native size": f"{facts.native_size_px} x {facts.native_size_px} px",
        "Pictures": f"sides of {facts.size_min_px} to {facts.size_max_px} px, multiples of {facts.size_step_px}",
        "Adapted weights": f"{facts.adapted_weights}, the narrowest of {facts.narrowest} columns",
        "Device": f"{facts.device}: {facts.device_name}, {facts.dtype}",
        **_device_memory(facts),
        "Fingerprint": ", ".join(
            f"{name.replace('_', ' ')} {digest[:12]}" for name, digest in facts.fingerprints.items()
        ),
    }


def about_recipe(config: Config, facts: "BaseFacts | None", pace: float | None = None) -> dict[str, str]:
    """How pictures are drawn and concepts trained unless a person says otherwise.

    Args:
        config: The recipe.
        facts: Of the model, where they are known: they tell how long things take.
        pace: Steps a second of trainings before.
    """
    drawing, training = config.generation, config.training
    takes_drawing = takes_training = ""
    if facts is not None:
        from spectral_diffusion.diffusion.facts import drawing_seconds, training_seconds

        seconds = drawing_seconds(
            facts,
            steps=drawing.steps,
            guidance_scale=drawing.guidance_scale,
            width_px=drawing.width_px,
            height_px=drawing.height_px,
        )
        takes_drawing = f": about {duration(seconds)} a picture"
        takes_training = f": about {duration(training_seconds(facts, config, 1, pace))} a concept"
    method = {"spectral": "additive", "rotation": "rotational", "lora": "no columns"}[training.method]
    return {
        "Sampler": f"{_SAMPLERS.get(drawing.sampler, drawing.sampler)}, {drawing.steps} steps{takes_drawing}",
        "Guidance": f"{drawing.guidance_scale:g}",
        "Size": f"{drawing.width_px} x {drawing.height_px} px",
        "Training": f"{training.steps} steps of {training.batch_size} pictures{takes_training}",
        "Method": f"{training.method} ({method}), rank {training.rank}",
        "Adapts": ", ".join(target.replace("_", " ") for target in training.targets)
        + (" of UNet and text encoder" if training.train_text_encoder else " of the UNet"),
        "Learns at": f"{training.resolution_px} x {training.resolution_px} px, learning rate "
        f"{training.learning_rates.unet:g}",
    }


def about_scorer(*, is_toybox: bool) -> str:
    """Which CLIP scores pictures of this model, in a sentence."""
    from spectral_diffusion.diffusion.scorer import default_scorer

    name = default_scorer(toybox=is_toybox)
    if name == "toybox":
        return "toybox's own small CLIP, trained on renders of the toy world; its scores compare with no other CLIP's"
    return f"{name} through open_clip; it is fetched once, or a local checkpoint is named"


def versions() -> dict[str, str]:
    """Of this package, Python and the libraries that matter."""
    found = {"spectral-diffusion": __version__, "Python": f"{platform.python_version()} on {platform.system()}"}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def bytes_words(count: float) -> str:
    """A size in memory for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _device_memory(facts: "BaseFacts") -> Mapping[str, str]:
    # On the processor it is the machine's, which is told as it is now.
    if facts.device == "cpu":
        return {}
    free, total = bytes_words(facts.memory_free_bytes), bytes_words(facts.memory_total_bytes)
    return {"Device memory": f"{free} of {total} were free when the model had been read"}


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"
