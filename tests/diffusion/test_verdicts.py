"""Laws of verdicts: what anybody would see in a photograph is told, and good ones are left in peace."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from spectral_diffusion.diffusion.verdicts import Measure, judge_photographs, measure
from spectral_diffusion.workspace import sample_concepts

RENDERS = {
    f"{path.parent.name}/{path.name}": Image.open(path).convert("RGB") for path in sample_concepts().glob("*/*.png")
}


def _scene(seed: int, side: int = 600) -> Image.Image:
    """Shapes of many sizes in front of each other, with sharp edges, and some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    picture = np.stack([40 + 100 * x, 60 + 80 * y, 90 + 60 * x * y], axis=2)
    for _ in range(25):
        centre, size, colour = rng.random(2), 0.03 + 0.2 * rng.random(), rng.integers(20, 240, 3)
        inside = np.hypot(x - centre[0], (y - centre[1]) * rng.uniform(0.5, 2)) < size
        if rng.random() < 0.5:
            inside = (abs(x - centre[0]) < size) & (abs(y - centre[1]) < size / 2)
        picture[inside] = colour
    return Image.fromarray((picture + rng.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8))


SCENES = {f"scene {seed}": _scene(seed) for seed in range(4)}
MEASURES = {name: measure(image) for name, image in (SCENES | RENDERS).items()}


def _compressed(image: Image.Image, quality: int = 40) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def _kinds(image: Image.Image, resolution_px: int = 16) -> set[str]:
    return {fault.kind for fault in judge_photographs({"a": measure(image)}, resolution_px)["a"].faults}


@pytest.mark.parametrize("name", [*SCENES, *RENDERS])
def test_a_sharp_photograph_is_good_in_every_size(name: str) -> None:
    image = (SCENES | RENDERS)[name]
    assert judge_photographs({"a": measure(image)}, min(image.size))["a"].words == "good"
    if name in SCENES:
        for side in (160, 300, 1200):
            assert _kinds(image.resize((side, side), Image.Resampling.LANCZOS)) == set()
        assert _kinds(_compressed(image)) == _kinds(ImageEnhance.Contrast(image).enhance(0.5)) == set()


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("radius", [3, 5, 9])
def test_a_blurred_photograph_is_told(name: str, radius: int) -> None:
    image = SCENES[name]
    blurred = image.filter(ImageFilter.GaussianBlur(radius * 600 / 512))
    assert _kinds(blurred) == {"blurry"} and _kinds(_compressed(blurred, 70)) == {"blurry"}
    assert _kinds(blurred.resize((900, 900))) == {"blurry"}


@pytest.mark.parametrize("name", RENDERS)
def test_a_blurred_render_is_told(name: str) -> None:
    assert _kinds(RENDERS[name].filter(ImageFilter.GaussianBlur(2))) == {"blurry"}


def test_most_shaken_photographs_are_told() -> None:
    found = []
    for image in SCENES.values():
        pixels = np.asarray(image, np.float32)
        for axis in (0, 1):
            shaken = np.mean([np.roll(pixels, shift, axis=axis) for shift in range(18)], axis=0)
            found.append(_kinds(Image.fromarray(shaken.astype(np.uint8)).crop((20, 20, 600, 600))) == {"blurry"})
    assert sum(found) >= 0.75 * len(found)


@given(st.integers(16, 200), st.integers(16, 200), st.integers(16, 200))
def test_a_photograph_that_would_be_enlarged_is_told_by_how_much(width: int, height: int, resolution: int) -> None:
    found = Measure(width, height, 1.0, 0, 255, bytes(64 * 64))
    faults = [fault for fault in judge_photographs({"a": found}, resolution)["a"].faults if fault.kind == "too_small"]
    assert bool(faults) == (min(width, height) < resolution)
    if faults:
        assert f"{width} x {height} would be enlarged {resolution / min(width, height):.1f} times" in faults[0].words


def test_too_dark_and_washed_out_are_told() -> None:
    image = SCENES["scene 1"]
    assert _kinds(ImageEnhance.Brightness(image).enhance(0.08)) == {"too_dark"}
    assert _kinds(ImageEnhance.Contrast(image).enhance(0.08)) == {"washed_out"}
    assert (
        _kinds(ImageEnhance.Brightness(image).enhance(0.4))
        == _kinds(ImageEnhance.Contrast(image).enhance(0.4))
        == set()
    )


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized": lambda image: image.resize((77, 77), Image.Resampling.LANCZOS),
    "compressed": lambda image: _compressed(image, 25),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "cropped all round": lambda image: _cropped(image, 0.06, 0.06, 0.06, 0.06),
    "cropped at a corner": lambda image: _cropped(image, 0.1, 0.08, 0, 0),
    "turned a little": lambda image: image.rotate(1.5),
    "all of it": lambda image: ImageEnhance.Brightness(
        _compressed(_cropped(image, 0.06, 0.02, 0.03, 0.07).resize((200, 180)), 50)
    ).enhance(1.25),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_whichever_comes_first(copy: str) -> None:
    for name, image in (SCENES | RENDERS).items():
        known, other = MEASURES[name], measure(COPIES[copy](image))
        for first, second in ((known, other), (other, known)):
            verdicts = judge_photographs({"one": first, "two": second}, 16)
            assert all(fault.kind != "near_duplicate" for fault in verdicts["one"].faults)
            twin = [fault for fault in verdicts["two"].faults if fault.kind == "near_duplicate"]
            assert len(twin) == 1 and twin[0].other == "one" and twin[0].words == "near-duplicate of one", name


def test_views_of_one_thing_are_not_taken_for_copies() -> None:
    assert all(verdict.good for verdict in judge_photographs(MEASURES, 128).values())


def test_a_mirrored_photograph_is_another_one() -> None:
    for image in SCENES.values():
        pair = {"one": measure(image), "two": measure(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))}
        assert judge_photographs(pair, 16)["two"].good


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (300, 17), (1, 1), (40, 40)])
@pytest.mark.parametrize("colour", ["black", "white", "teal"])
def test_pictures_of_nothing_are_judged_and_are_no_twins(size: tuple[int, int], colour: str) -> None:
    one, other = Image.new("RGB", size, colour), Image.new("RGB", size, "red")
    verdicts = judge_photographs({"one": measure(one), "two": measure(other)}, 16)
    assert all(not verdict.good for verdict in verdicts.values())
    assert all(fault.kind != "near_duplicate" for verdict in verdicts.values() for fault in verdict.faults)


def test_no_photographs_get_no_verdicts() -> None:
    assert judge_photographs({}, 512) == {}
