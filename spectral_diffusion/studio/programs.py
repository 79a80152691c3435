"""What programs ask of the create screen by name: drawings and pictures as plain values."""

from typing import Any

from spectral_diffusion.diffusion.library import SUFFIX
from spectral_diffusion.diffusion.pipeline import read_settings
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing, whole
from spectral_diffusion.studio.limits import COUNT_LIMIT, SEED_LIMIT
from spectral_diffusion.studio.parts.cards import Ticked

_LISTED = 200


def draw(
    desk: Desk,
    prompt: str,
    concepts: list[str],
    seed: int = 1,
    count: int = 1,
    width_px: int | None = None,
    height_px: int | None = None,
    strengths: list[float] | None = None,
) -> dict[str, Any]:
    """Queue pictures of concepts, named as in Files or by their adapter files; answers the job, see `/job`."""
    recipe = desk.studio.config.generation
    if not isinstance(concepts, list):
        raise InputError("the concepts are no list", 'name them as ["octo", "spot"]')
    scales = strengths if strengths is not None else [1.0] * len(concepts)
    if not isinstance(scales, list) or len(scales) != len(concepts):
        raise InputError(f"there are not as many strengths as concepts ({len(concepts)})", "give one for each, or none")
    wide = recipe.width_px * 3 // 2 if len(concepts) > 1 else recipe.width_px
    return (
        Drawing(
            adapters=tuple(
                Ticked(_file_of(desk, name), _number(scale)) for name, scale in zip(concepts, scales, strict=True)
            ),
            prompt=str(prompt or ""),
            negative_prompt=recipe.negative_prompt,
            width_px=whole(wide if width_px is None else width_px, "width", 16, 4096),
            height_px=whole(recipe.height_px if height_px is None else height_px, "height", 16, 4096),
            steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            seed=whole(seed, "seed", 0, SEED_LIMIT),
            count=whole(count, "number of pictures", 1, COUNT_LIMIT),
        )
        .submit(desk)
        .to_dict()
    )


def pictures(desk: Desk) -> list[dict[str, Any]]:
    """The newest pictures: name, prompt, seed and concepts, as far as they hold their settings."""
    found = []
    for path in desk.pictures()[:_LISTED]:
        told: dict[str, Any] = {"name": desk.picture_name(path)}
        try:
            settings = read_settings(path)
        except InputError:
            found.append(told)
            continue
        concepts = [record.name for record in settings.adapters]
        found.append({**told, "prompt": settings.prompt, "seed": settings.seed, "concepts": concepts})
    return found


def picture(desk: Desk, name: str) -> dict[str, Any]:
    """A picture by its name, as a file: gradio_client downloads it and answers where it lies."""
    path = desk.show(desk.picture(name))
    return {"path": path, "orig_name": name.rpartition("/")[2], "meta": {"_type": "gradio.FileData"}}


def _file_of(desk: Desk, name: Any) -> str:
    """The adapter file of that name, or one that holds the concept of that name alone, rather that of its name."""
    usable = [summary for summary in desk.adapters() if not summary.fault]
    named = [summary.file_name for summary in usable if name == summary.file_name]
    holding = [summary.file_name for summary in usable if summary.names == (name,)]
    found = [*named, *sorted(holding, key=lambda file_name: file_name != f"{name}{SUFFIX}")]
    if found:
        return found[0]
    known = ", ".join(" + ".join(summary.names) for summary in usable)
    raise InputError(f"there is no trained concept {str(name)[:60]!r}", f"name one of: {known or 'none is trained'}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 100:
        raise InputError(f"the strength {str(value)[:40]} is none", "give numbers such as 0.8")
    return float(value)
