"""Laws of concept folders: what is read, what it becomes, and one clear line for every wrong input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.diffusion.dataset import Concept, Photograph, caption_of, fit, load_concept
from spectral_diffusion.errors import InputError


def _picture(path: Path, width_px: int = 48, height_px: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width_px, height_px), "teal").save(path)
    return path


def _mask(path: Path, width_px: int = 48, height_px: int = 32) -> None:
    picture = Image.new("L", (width_px, height_px))
    picture.paste(255, (0, 0, width_px // 4, height_px))
    picture.save(path)


def test_a_bare_folder_gives_name_token_and_class_word(tmp_path: Path) -> None:
    _picture(tmp_path / "10_rc_car2" / "b.jpg")
    _picture(tmp_path / "10_rc_car2" / "a.WEBP")
    concept = load_concept(tmp_path / "10_rc_car2")
    assert (concept.name, concept.token, concept.class_word) == ("rc_car2", "<rc_car2>", "rc car")
    assert (concept.description, concept.words) == ("", "rc car")
    assert [photograph.path.name for photograph in concept.photographs] == ["a.WEBP", "b.jpg"]
    assert all(photograph.caption is None and photograph.mask is None for photograph in concept.photographs)


def test_captions_masks_and_settings_lie_beside_the_photographs(tmp_path: Path) -> None:
    _picture(tmp_path / "octo" / "a.jpg")
    _mask(tmp_path / "octo" / "a.mask.png")
    (tmp_path / "octo" / "a.txt").write_text("﻿an octopus\n on the beach ", encoding="utf-8")
    (tmp_path / "octo" / "README.md").write_text("not a photograph")
    (tmp_path / "octo" / "concept.toml").write_text(
        'token = "<o>"\nclass_word = "octopus"\ndescription = " purple octopus\\n with a star "'
    )
    concept = load_concept(tmp_path / "octo")
    (photograph,) = concept.photographs
    assert (concept.token, concept.class_word) == ("<o>", "octopus")
    assert concept.description == concept.words == "purple octopus with a star"
    assert photograph.caption == "an octopus on the beach"
    assert photograph.mask is not None
    assert photograph.mask.shape == (32, 48)
    assert photograph.mask.mean() == pytest.approx(0.25)


def test_a_large_photograph_and_its_mask_shrink_together(tmp_path: Path) -> None:
    _picture(tmp_path / "vase" / "a.png", 2000, 1000)
    _mask(tmp_path / "vase" / "a.mask.png", 2000, 1000)
    (photograph,) = load_concept(tmp_path / "vase").photographs
    assert photograph.image.size == (1536, 768)
    assert photograph.mask is not None
    assert photograph.mask.shape == (768, 1536)
    assert photograph.mask.mean() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        (None, "a photo of <o>"),
        ("<o> on a table", "<o> on a table"),
        ("an Octopus beside an octopus", "an <o> beside an octopus"),
        ("on the beach", "<o>, on the beach"),
    ],
)
def test_every_photograph_is_trained_with_a_text_that_names_the_token(caption: str | None, text: str) -> None:
    photograph = Photograph(Path("a.png"), Image.new("RGB", (16, 16)), caption)
    concept = Concept("o", "<o>", "octopus", (photograph,))
    assert caption_of(concept, photograph, "a photo of {}") == text


@given(width=st.integers(16, 90), height=st.integers(16, 90), target=st.tuples(st.integers(8, 64), st.integers(8, 64)))
def test_fitting_crops_and_never_distorts(width: int, height: int, target: tuple[int, int]) -> None:
    # A picture that holds its own coordinates shows which part was taken, and at which scale.
    y, x = np.mgrid[0:height, 0:width]
    image = Image.fromarray(np.stack([x * 2, y * 2, 0 * x], axis=-1).astype(np.uint8))
    fitted, mask = fit(image, torch.ones(height, width), *target)
    assert fitted.size == target
    assert mask is not None
    assert mask.shape == target[::-1]
    assert float(mask.min()) == 1
    scale = min(width / target[0], height / target[1])
    values = np.asarray(fitted).astype(float) / 2
    for line, size, full in (
        (values[target[1] // 2, :, 0], target[0], width),
        (values[:, target[0] // 2, 1], target[1], height),
    ):
        # Lanczos bends the pixels next to a border, so the middle half is compared.
        middle = np.arange(size // 4, size - size // 4)
        shown = (full - size * scale) / 2 + (middle + 0.5) * scale - 0.5
        assert np.abs(line[middle] - shown).max() < 1 + 0.5 * scale


def test_the_crop_follows_the_concept() -> None:
    mask = torch.zeros(32, 96)
    mask[:, 70:90] = 1
    _, fitted = fit(Image.new("RGB", (96, 32)), mask, 32, 32)
    assert fitted is not None
    assert fitted.sum() == pytest.approx(20 * 32, rel=1e-3)


def _folder_of_folders(folder: Path) -> None:
    _picture(folder / "octo" / "a.png")
    (folder / "empty").mkdir()


def _too_many(folder: Path) -> None:
    for index in range(51):
        _picture(folder / f"{index}.png", 16, 16)


WRONG = {
    "empty": (lambda folder: folder.mkdir(), "no photographs found in .*thing"),
    "missing": (lambda folder: None, "there is no concept folder .*thing"),
    "a file": (lambda folder: folder.write_text("x"), "thing is a file"),
    "folder of folders": (_folder_of_folders, "thing holds folders.*thing/octo looks right"),
    "text named png": (lambda folder: (_picture(folder / "a.png"), (folder / "b.png").write_text("hi")), r"b\.png"),
    "one pixel": (lambda folder: _picture(folder / "a.png", 1, 1), r"a\.png is only 1 x 1"),
    "a gif": (lambda folder: _picture(folder / "a.gif"), r"a\.gif is not a PNG, JPEG or WebP"),
    "too many": (_too_many, "thing holds 51 photographs"),
    "mask of another size": (
        lambda folder: (_picture(folder / "a.jpg"), _mask(folder / "a.mask.png", 20, 20)),
        r"a\.mask\.png is 20 x 20",
    ),
    "lonely mask": (
        lambda folder: (_picture(folder / "a.jpg"), _mask(folder / "b.mask.png")),
        r"b\.mask\.png belongs to no photograph",
    ),
    "broken caption": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "a.txt").write_bytes(b"\xff\xfe\xfa")),
        r"caption .*a\.txt",
    ),
    "broken settings": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text("token = ")),
        r"concept\.toml is not TOML",
    ),
    "unknown settings": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text("tokn = 1\nclass_word = 2")),
        r"concept\.toml: tokn is no key; class_word = 2 is not a text",
    ),
    "bare token": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text('token = "octo"')),
        "token 'octo' of concept 'thing' is not of the form <octo>",
    ),
    "token as class word": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text('class_word = "<o>"')),
        "the class word of concept 'thing' is no plain word: '<o>'",
    ),
    "token in the description": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text('description = "like <o>"')),
        "the description of concept 'thing' is no short plain text: 'like <o>'",
    ),
    "empty class word": (
        lambda folder: (_picture(folder / "a.jpg"), (folder / "concept.toml").write_text('class_word = " "')),
        "class word of concept 'thing' is empty",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_folders_are_named_in_one_line(tmp_path: Path, make, message: str) -> None:
    make(tmp_path / "thing")
    with pytest.raises(InputError, match=message) as caught:
        load_concept(tmp_path / "thing")
    assert "\n" not in str(caught.value)


def test_the_digest_tells_what_is_shown_said_and_masked_wherever_it_lies(tmp_path: Path) -> None:
    def digest(place: str, name: str = "a.png", caption: str = "a vase", mask: bool = True, width_px: int = 48) -> str:
        folder = tmp_path / place / "vase"
        picture = _picture(folder / name, width_px)
        picture.with_suffix(".txt").write_text(caption)
        if mask:
            _mask(picture.with_suffix(".mask.png"), width_px)
        return load_concept(folder).digest()

    same = digest("here")
    assert digest("there", name="b.png") == same
    others = [digest("1", caption="two vases"), digest("2", mask=False), digest("3", width_px=40)]
    assert len({same, *others}) == 4
