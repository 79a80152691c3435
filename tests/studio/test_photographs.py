import io
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from spectral_diffusion.diffusion.curation import set_mask
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio import concepts, picture_editor
from spectral_diffusion.trash import Trash
from tests.command_line import write_concept
from tests.studio.screens import STATE, Screen, sent


def test_a_caption_is_saved_and_a_refused_one_has_its_words(screen: Screen) -> None:
    told = {"concept": "mug", "name": "0.png", "text": "a photo of <mug> in rain"}
    value = screen.do("write_caption", {**STATE, "concept": "mug"}, told=told)
    assert [row["caption"] for row in value["rows"]] == ["a photo of <mug> in rain", ""]
    assert value["answered"] == {"name": "0.png", "text": told["text"]}, "only that photograph is called saved"
    value = screen.do("write_caption", {**STATE, "concept": "mug"}, told={**told, "text": "x" * 100_000})
    assert value["rows"][0]["refused"].startswith("not saved") and value["rows"][0]["caption"] == told["text"]
    assert not value["rows"][1]["refused"]


def test_a_photograph_is_cropped_and_the_whole_one_comes_back(screen: Screen) -> None:
    desk, kept = screen.desk, {**STATE, "concept": "big", "photograph": "0.png"}
    folder = write_concept(desk.workspace.concepts / "big", "mug", 2)
    Image.open(folder / "0.png").resize((300, 200)).save(folder / "0.png")
    told = {"concept": "big", "name": "0.png", "box": [10, 20.4, 150, 120]}
    crop = next(held.fn for held in screen.blocks.fns.values() if held.targets[0][1] == "crop" and held.fn)
    kept = crop(gr.Request(), kept, gr.EventData(None, told))[0]
    assert kept["photograph"] == "0.png" and Image.open(folder / "0.png").size == (140, 100)
    (item,) = Trash(desk.workspace).items()
    restored = Trash(desk.workspace).restore(item.id)
    assert Image.open(restored).size == (300, 200)


@pytest.mark.parametrize(
    "box", [None, [1, 2, 3], [0, 0, 10, 10], ["a", 0, 1, 1], [0, 0, 1e9, float("nan")], [True] * 4]
)
def test_what_is_no_box_is_refused_in_words(screen: Screen, box: Any) -> None:
    with pytest.raises(InputError):
        picture_editor.crop(screen.desk, gr.EventData(None, {"concept": "mug", "name": "0.png", "box": box}))


def test_a_mask_has_the_size_of_its_photograph_however_it_was_painted(screen: Screen) -> None:
    desk = screen.desk
    small = Image.new("L", (32, 32))
    small.paste(255, (8, 8, 24, 24))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    told = {"concept": "mug", "name": "0.png", "path": str(sent(desk, "mask.png", buffer.getvalue()))}
    assert picture_editor.save_mask(desk, gr.EventData(None, told)) == ("mug", "0.png")
    photograph = load_concept(desk.workspace.concepts / "mug").photographs[0]
    assert photograph.mask is not None and photograph.mask.shape == (64, 64)
    assert float(photograph.mask[32, 32]) == 1 and float(photograph.mask[0, 0]) == 0
    assert picture_editor.edited(desk, "mug", "0.png")[2]["mask"]
    assert picture_editor.remove_mask(desk, gr.EventData(None, told)) == ("mug", "0.png")
    assert load_concept(desk.workspace.concepts / "mug").photographs[0].mask is None
    assert [item.what for item in Trash(desk.workspace).items()] == ["mask"]


def test_a_photograph_is_removed_with_mask_and_caption_and_brought_back(screen: Screen) -> None:
    desk, kept = screen.desk, {**STATE, "concept": "mug", "photograph": "0.png"}
    set_mask(desk.workspace, "mug", "0.png", Image.new("L", (64, 64), 255))
    before = sorted(path.name for path in (desk.workspace.concepts / "mug").iterdir())
    kept = screen.do("remove", kept)[0]
    assert kept["photograph"] is None and kept["undo"]["name"] == "0.png"
    assert [row["name"] for row in concepts.captioned(desk, "mug")["rows"]] == ["1.png"]
    kept = screen.do("bring_back", kept)[0]
    assert kept == {"concept": "mug", "photograph": "0.png", "undo": None}
    assert sorted(path.name for path in (desk.workspace.concepts / "mug").iterdir()) == before
