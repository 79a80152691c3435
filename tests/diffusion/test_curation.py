"""Laws of a concept folder under a person's hands: a change is whole or not at all, and nothing is lost by it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.diffusion.curation import (
    create_concept,
    crop_photograph,
    delete_concept,
    remove_photograph,
    rename_concept,
    restore,
    set_caption,
    set_mask,
    set_settings,
)
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace, sample_concepts
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.hostile.case import tree


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With the sample `octo`, which has captions."""
    shutil.copytree(sample_concepts() / "octo", tmp_path / "home" / "concepts" / "octo")
    return Workspace(tmp_path / "home")


def _half_mask(size: tuple[int, int], left: int = 0) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, (left, 0, left + size[0] // 2, size[1]))
    return mask


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("octo 2", "octo-2"), ("../../etc", "etc"), ("CON", "_CON"), ("10_car", "car"), ("章魚", "章魚")],
)
def test_a_concept_can_be_called_anything_and_its_folder_is_safe(name: str, folder: str, workspace: Workspace) -> None:
    assert create_concept(workspace, name) == folder
    assert (workspace.concepts / folder).is_dir()
    assert sorted(path.name for path in workspace.concepts.iterdir() if path.is_dir()) == sorted(["octo", folder])


def test_a_name_that_is_taken_or_nothing_is_refused(workspace: Workspace) -> None:
    shutil.copytree(workspace.concepts / "octo", workspace.concepts / "3_spot")
    for name in ("octo", "OCTO", "7_octo", "spot"):
        with pytest.raises(InputError, match="there is a concept"):
            create_concept(workspace, name, token="<other>")
    for name in ("", "///", "🐙"):
        with pytest.raises(InputError, match="has no usable name"):
            create_concept(workspace, name)
    assert {path.name for path in workspace.concepts.iterdir()} == {"octo", "3_spot", ".lock"}


@given(
    token=st.text("abä<>@ \"\\'\n\x7fx", max_size=12).map(lambda text: f"<{text}>"),
    word=st.text('oct <"\\\n\x7f\x1b=#', max_size=12),
    description=st.text("purple <\"\\\n\x85'", max_size=20),
)
def test_settings_are_read_back_as_they_were_written_or_refused(token: str, word: str, description: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        workspace = Workspace(Path(place))
        create_concept(workspace, "toy")
        shutil.copyfile(sample_concepts() / "octo" / "00.png", workspace.concepts / "toy" / "00.png")
        try:
            set_settings(workspace, "toy", token=token, class_word=word, description=description)
        except InputError:
            assert not (workspace.concepts / "toy" / "concept.toml").exists()
            return
        concept = load_concept(workspace.concepts / "toy")
        assert concept.token == token.strip()
        assert (concept.class_word, concept.description) == (" ".join(word.split()), " ".join(description.split()))


def test_a_token_that_another_concept_has_is_refused_with_its_name(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="the concept octo has the token <octo> already"):
        create_concept(workspace, "squid", token="<octo>")
    create_concept(workspace, "squid", class_word="squid")
    with pytest.raises(InputError, match="the concept octo has the token <octo> already"):
        set_settings(workspace, "squid", token="<octo>", class_word="squid")
    (workspace.concepts / "broken").mkdir()
    (workspace.concepts / "broken" / "concept.toml").write_text("token =")
    set_settings(workspace, "squid", token="<squid>", class_word="giant squid")
    set_settings(workspace, "octo", token="<octo>", class_word="octopus")
    assert load_concept(workspace.concepts / "octo").class_word == "octopus"


def test_a_caption_is_written_in_one_line_changed_and_removed(workspace: Workspace) -> None:
    path = workspace.concepts / "octo" / "00.txt"
    set_caption(workspace, "octo", "00.png", "  an octopus\n on a chair ")
    assert load_concept(path.parent).photographs[0].caption == "an octopus on a chair"
    for text in ("x" * 20_000, "an \0 octopus", "an \u202e octopus"):
        with pytest.raises(InputError, match="no plain text"):
            set_caption(workspace, "octo", "00.png", text)
    assert load_concept(path.parent).photographs[0].caption == "an octopus on a chair"
    set_caption(workspace, "octo", "00.png", " ")
    assert not path.exists()


@pytest.mark.parametrize("name", ["../octo/00.png", "00.txt", "concept.toml", "", "..", "/etc/passwd", "09.png", "\0"])
def test_a_photograph_that_is_not_in_the_folder_is_refused(name: str, workspace: Workspace) -> None:
    before = tree(workspace.root)
    for change in (
        lambda: set_caption(workspace, "octo", name, "x"),
        lambda: set_mask(workspace, "octo", name, _half_mask((128, 128))),
        lambda: crop_photograph(workspace, "octo", name, (0, 0, 100, 100)),
        lambda: remove_photograph(workspace, "octo", name),
        lambda: set_caption(workspace, f"../concepts/{name}", "00.png", "x"),
        lambda: delete_concept(workspace, name),
        lambda: rename_concept(workspace, name, "x"),
        lambda: set_settings(workspace, name, token="<x>", class_word="x"),
    ):
        with pytest.raises(InputError, match="there is no"):
            change()
    assert {path: kind for path, kind in tree(workspace.root).items() if not path.endswith(".lock")} == before


def test_a_link_out_of_the_workspace_is_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    shutil.copytree(workspace.concepts / "octo", precious)
    (workspace.concepts / "link").symlink_to(precious)
    (workspace.concepts / "octo" / "09.png").symlink_to(precious / "00.png")
    before = tree(precious)
    for change in (
        lambda: delete_concept(workspace, "link"),
        lambda: set_caption(workspace, "link", "00.png", "x"),
        lambda: crop_photograph(workspace, "octo", "09.png", (0, 0, 100, 100)),
        lambda: set_caption(workspace, "octo", "09.png", "x"),
    ):
        with pytest.raises(InputError, match="is a link"):
            change()
    assert tree(precious) == before


def test_a_brush_paints_a_mask_that_training_reads(workspace: Workspace) -> None:
    layer = Image.new("RGBA", (256, 256))
    layer.paste((0, 0, 0, 255), (0, 0, 128, 256))
    set_mask(workspace, "octo", "00.png", layer)
    mask = load_concept(workspace.concepts / "octo").photographs[0].mask
    assert mask is not None and mask.shape == (128, 128) and mask[:, :63].min() == 1 and mask[:, 65:].max() == 0
    set_mask(workspace, "octo", "00.png", _half_mask((128, 128), left=64))
    mask = load_concept(workspace.concepts / "octo").photographs[0].mask
    assert mask is not None and mask[:, 64:].min() == 1 and mask[:, :64].max() == 0
    for wrong, said in (
        (Image.new("L", (128, 128)), "is empty"),
        (Image.new("RGBA", (128, 128)), "is empty"),
        (Image.new("L", (0, 0)), "is empty"),
        (_half_mask((128, 96)), "128 x 96 pixels"),
    ):
        with pytest.raises(InputError, match=said):
            set_mask(workspace, "octo", "00.png", wrong)
    assert load_concept(workspace.concepts / "octo").photographs[0].mask is not None
    set_mask(workspace, "octo", "00.png", None)
    set_mask(workspace, "octo", "00.png", None)
    assert load_concept(workspace.concepts / "octo").photographs[0].mask is None
    restore(workspace, Trash(workspace).items()[0].id)
    assert load_concept(workspace.concepts / "octo").photographs[0].mask is not None


def test_a_crop_cuts_photograph_and_mask_and_can_be_undone(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    set_mask(workspace, "octo", "01.png", _half_mask((128, 128)))
    before, caption = _pixels(folder / "01.png"), (folder / "01.txt").read_text()
    assert crop_photograph(workspace, "octo", "01.png", (-5, 20.4, 100, 500)) == "01.png"
    cropped = load_concept(folder).photographs[1]
    assert np.array_equal(np.asarray(cropped.image), before[20:128, 0:100])
    assert cropped.mask is not None and cropped.mask.shape == (108, 100) and cropped.mask[:, :64].min() == 1
    assert cropped.caption == caption.strip()
    (item,) = Trash(workspace).items()
    assert (item.what, item.name) == ("photograph", "01.png")
    back = restore(workspace, item.id)
    assert back.name == "01-2.png" and np.array_equal(_pixels(back), before)
    whole = {photograph.path.name: photograph for photograph in load_concept(folder).photographs}["01-2.png"]
    assert whole.caption == caption.strip() and whole.mask is not None and whole.mask.shape == (128, 128)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 63, 128), "only 63 x 128 pixels would be left"),
        ((100, 100, 0, 0), "only 0 x 0 pixels"),
        ((500, 500, 900, 900), "only 0 x 0 pixels"),
        ((0, 0, float("nan"), 9), "no part of a picture"),
        ((0, 0, float("inf"), 9), "no part of a picture"),
        ((0, 0, 9), "no part of a picture"),
        ((64, 0, 128, 128), "leaves nothing of the mask"),
    ],
)
def test_a_crop_that_leaves_too_little_changes_nothing(box: tuple, said: str, workspace: Workspace) -> None:
    set_mask(workspace, "octo", "00.png", _half_mask((128, 128)))
    before = tree(workspace.concepts)
    with pytest.raises(InputError, match=said):
        crop_photograph(workspace, "octo", "00.png", box)
    assert tree(workspace.concepts) == before and Trash(workspace).items() == []


def test_a_jpeg_that_is_cropped_becomes_a_png_of_its_own(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    Image.open(folder / "00.png").save(folder / "00.jpg", quality=95)
    Image.open(folder / "00.png").save(folder / "aa.jpg", quality=95)
    before = _pixels(folder / "00.png")
    assert crop_photograph(workspace, "octo", "aa.jpg", (0, 0, 100, 100)) == "aa.png"
    assert crop_photograph(workspace, "octo", "00.jpg", (0, 0, 100, 100)) == "05.png"
    assert np.array_equal(_pixels(folder / "00.png"), before)
    assert not (folder / "00.jpg").exists() and not (folder / "aa.jpg").exists()
    assert (folder / "05.txt").read_text().strip() == (folder / "00.txt").read_text().strip()
    assert len(load_concept(folder).photographs) == 7


def test_a_photograph_goes_and_comes_with_its_caption_and_its_mask(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    set_mask(workspace, "octo", "02.png", _half_mask((128, 128)))
    before = load_concept(folder).digest()
    item = remove_photograph(workspace, "octo", "02.png")
    assert len(load_concept(folder).photographs) == 4 and not list(folder.glob("02.*"))
    assert restore(workspace, item.id) == folder / "02.png"
    assert load_concept(folder).digest() == before


def _trashed(workspace: Workspace, what: str) -> list[str]:
    return [item.id for item in Trash(workspace).items() if item.what == what]


def test_a_restored_mask_takes_the_place_of_the_one_painted_meanwhile(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    set_mask(workspace, "octo", "02.png", _half_mask((128, 128)))
    first = (folder / "02.mask.png").read_bytes()
    set_mask(workspace, "octo", "02.png", None)
    (item,) = _trashed(workspace, "mask")
    set_mask(workspace, "octo", "02.png", _half_mask((128, 128), left=64))
    second = (folder / "02.mask.png").read_bytes()
    assert restore(workspace, item) == folder / "02.mask.png"
    assert (folder / "02.mask.png").read_bytes() == first != second
    assert len(load_concept(folder).photographs) == 5 and len(list(folder.glob("02*.png"))) == 2
    (other,) = _trashed(workspace, "mask")
    restore(workspace, other)
    assert (folder / "02.mask.png").read_bytes() == second


def test_a_mask_whose_photograph_is_gone_or_cropped_stays_in_the_trash(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    for name in ("02.png", "03.png"):
        set_mask(workspace, "octo", name, _half_mask((128, 128)))
        set_mask(workspace, "octo", name, None)
    third, second = _trashed(workspace, "mask")
    photograph = remove_photograph(workspace, "octo", "02.png")
    crop_photograph(workspace, "octo", "03.png", (0, 0, 100, 100))
    with pytest.raises(InputError, match=r"photograph of the mask 02\.mask\.png is gone from octo"):
        restore(workspace, second)
    with pytest.raises(InputError, match=r"does not go with 03\.png any more, which is 100 x 100"):
        restore(workspace, third)
    assert len(load_concept(folder).photographs) == 4 and set(_trashed(workspace, "mask")) == {second, third}
    restore(workspace, photograph.id)
    restore(workspace, second)
    assert len(load_concept(folder).photographs) == 5 and (folder / "02.mask.png").exists()


def test_the_companions_of_a_restored_photograph_are_its_own(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    set_mask(workspace, "octo", "02.png", _half_mask((128, 128)))
    item = remove_photograph(workspace, "octo", "02.png")
    Image.new("RGB", (96, 80)).save(folder / "02.jpg")
    assert restore(workspace, item.id) == folder / "02-2.png"
    assert (folder / "02-2.mask.png").exists() and len(load_concept(folder).photographs) == 6


def test_a_concept_is_renamed_with_all_it_is_called(workspace: Workspace) -> None:
    shutil.copytree(workspace.concepts / "octo", workspace.concepts / "rc_car2")
    (workspace.concepts / "rc_car2" / "concept.toml").unlink()
    before = load_concept(workspace.concepts / "rc_car2")
    assert rename_concept(workspace, "rc_car2", "my car!") == "my-car"
    after = load_concept(workspace.concepts / "my-car")
    assert (after.token, after.class_word, after.digest()) == (before.token, before.class_word, before.digest())
    assert not (workspace.concepts / "rc_car2").exists()
    assert rename_concept(workspace, "my-car", "My-Car") == "My-Car"
    with pytest.raises(InputError, match="there is a concept octo"):
        rename_concept(workspace, "My-Car", "Octo")


def test_a_trained_concept_keeps_its_name(workspace: Workspace) -> None:
    claim = ("imaginary", FINGERPRINTS, "octo", 2, 6)
    Ledger(workspace.ledger_path).claim(*claim)
    with pytest.raises(InputError, match="columns that a training holds"):
        rename_concept(workspace, "octo", "squid")
    Ledger(workspace.ledger_path).release("octo")
    for place in (workspace.adapters, workspace.adapters / "checkpoints"):
        make_adapter("octo", 0).save(place / "octo.safetensors")
        with pytest.raises(InputError, match="octo cannot be renamed: its adapter"):
            rename_concept(workspace, "octo", "squid")
        (place / "octo.safetensors").unlink()
    assert rename_concept(workspace, "octo", "squid") == "squid"
    assert load_concept(workspace.concepts / "squid").token == "<octo>"


def test_a_deleted_concept_comes_back_as_it_was(workspace: Workspace) -> None:
    before = load_concept(workspace.concepts / "octo").digest()
    photograph = remove_photograph(workspace, "octo", "04.png")
    item = delete_concept(workspace, "octo")
    assert item.what == "concept" and not (workspace.concepts / "octo").exists()
    with pytest.raises(InputError, match="restore that folder first"):
        restore(workspace, photograph.id)
    create_concept(workspace, "octo")
    assert restore(workspace, item.id).name == "octo-2"
    assert delete_concept(workspace, "octo").name == "octo"
    restore(workspace, delete_concept(workspace, "octo-2").id)
    shutil.move(workspace.concepts / "octo-2", workspace.concepts / "octo")
    restore(workspace, photograph.id)
    assert load_concept(workspace.concepts / "octo").digest() == before


def test_two_tabs_at_once_leave_one_of_both_states(workspace: Workspace) -> None:
    def change(number: int) -> None:
        set_caption(workspace, "octo", "00.png", f"caption {number} " * 50)
        set_settings(workspace, "octo", token=f"<octo{number}>", class_word=f"octopus {number}")
        set_mask(workspace, "octo", "00.png", _half_mask((128, 128), left=number))

    with ThreadPoolExecutor(6) as tabs:
        list(tabs.map(change, range(24)))
    concept = load_concept(workspace.concepts / "octo")
    assert concept.token == f"<octo{concept.class_word.split()[1]}>"
    assert len(set(str(concept.photographs[0].caption).split())) == 2
    assert not [path for path in workspace.concepts.iterdir() if path.name.startswith(".incoming")]


def test_only_one_of_many_gets_a_name_or_a_token(workspace: Workspace) -> None:
    def make(number: int) -> bool:
        try:
            create_concept(workspace, "new" if number % 2 else f"other{number}", token="<new>")
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(6) as tabs:
        assert sum(tabs.map(make, range(12))) == 1
