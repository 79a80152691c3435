from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.images import save_png
from spectral_diffusion.jobs.specs import GenerateSpec, GridSpec
from spectral_diffusion.studio import programs
from spectral_diffusion.studio.axes import AXES, Axis, axis_example
from spectral_diffusion.studio.controls import adapter_cards, read_drawing, shown_drawing
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing, check_tokens, examples, in_plain_words
from spectral_diffusion.studio.parts.cards import Ticked
from tests.studio.desks import desk_in


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A new workspace: the samples with their trained adapters are there."""
    with desk_in(tmp_path_factory.mktemp("drawing"), has_samples=True) as desk:
        yield desk


def _drawing(**changes: Any) -> Drawing:
    wish = Drawing(
        adapters=(Ticked("octo.safetensors", 1.0), Ticked("spot.safetensors", 0.5)),
        prompt="a photo of <octo> and <spot> in the snow",
        negative_prompt="",
        width_px=192,
        height_px=128,
        steps=12,
        guidance_scale=4.0,
        seed=7,
    )
    return replace(wish, **changes)


def test_a_drawing_becomes_a_job_with_the_adapter_files_and_their_strengths(desk: Desk):
    job = _drawing(count=3).submit(desk)
    assert isinstance(job.spec, GenerateSpec)
    assert [(kept.name, kept.strength) for kept in job.spec.fusing.adapters] == [
        ("octo.safetensors", 1.0),
        ("spot.safetensors", 0.5),
    ]
    assert (job.spec.seed, job.spec.count, job.spec.width_px) == (7, 3, 192)


def test_a_comparison_draws_each_alone_in_plain_words_and_then_all(desk: Desk):
    job = _drawing().compare(desk)
    assert isinstance(job.spec, GridSpec)
    assert [cell.strengths for cell in job.spec.cells] == [(1.0, None), (None, 0.5), (1.0, 0.5)]
    assert [cell.prompt for cell in job.spec.cells] == [
        "a photo of <octo> and a dog in the snow",
        "a photo of an octopus and <spot> in the snow",
        "a photo of <octo> and <spot> in the snow",
    ]
    assert {cell.seed for cell in job.spec.cells} == {7}


def test_a_grid_has_a_cell_for_every_pair(desk: Desk):
    across, down = Axis.read("strength", "0, 1", "spot.safetensors"), Axis.read("seed", "1, 2, 3")
    job = _drawing().grid(desk, across, down)
    assert isinstance(job.spec, GridSpec)
    assert [(cell.seed, cell.strengths) for cell in job.spec.cells] == [
        (seed, (1.0, strength)) for seed in (1, 2, 3) for strength in (0.0, 1.0)
    ]
    assert job.spec.columns == 2 and len(job.spec.row_labels) == 3


def test_a_grid_that_would_change_nothing_is_refused(desk: Desk):
    seeds, of_shelly = Axis.read("seed", "1, 2"), Axis.read("strength", "0, 1", "shelly.safetensors")
    with pytest.raises(InputError, match="not in the picture"):
        _drawing().grid(desk, seeds, of_shelly)
    with pytest.raises(InputError, match="no concept is ticked"):
        _drawing(adapters=(), prompt="a dog").grid(desk, seeds, Axis.read("strength", "0, 1"))
    with pytest.raises(InputError, match="both sides"):
        _drawing().grid(desk, seeds, seeds)


def test_a_token_that_is_not_ticked_is_told_before_a_job_is_made(desk: Desk):
    with pytest.raises(InputError, match="<shelly>, which is not ticked"):
        _drawing(prompt="<shelly>").submit(desk)
    with pytest.raises(InputError, match="<nobody>, which no concept here has"):
        _drawing(prompt="<nobody>").compare(desk)


@pytest.mark.parametrize("setting", AXES)
def test_every_example_of_an_axis_can_be_read(setting: str):
    axis = Axis.read(setting, axis_example(setting))
    assert len(axis.labels) == len(axis.values) > 1


@given(setting=st.text(max_size=8) | st.sampled_from(AXES), text=st.text(max_size=30) | st.none())
def test_whatever_is_written_an_axis_is_read_or_refused_in_words(setting: str, text: str | None):
    try:
        axis = Axis.read(setting, text)
    except InputError:
        return
    assert 1 <= len(axis.values) <= 10


def test_a_drawing_and_the_controls_say_the_same(desk: Desk):
    wish = _drawing()
    assert read_drawing(desk, *shown_drawing(desk, wish)) == wish


def test_words_of_plain_prompts_have_their_article(desk: Desk):
    told = in_plain_words("<octo> and <spot> and <who>", desk.adapters(), keep={"<spot>"})
    assert told == "an octopus and <spot> and <who>"


def test_examples_name_what_is_ticked_from_left_to_right(desk: Desk):
    summaries = desk.adapters()
    for prompt in examples(summaries, is_toybox=True):
        check_tokens(prompt, summaries, [Ticked(summary.file_name, 1.0) for summary in summaries])
    assert "<" not in examples([], is_toybox=True)[0]


def test_the_command_line_names_the_files_and_with_accounts_no_folder(desk: Desk):
    told = _drawing().command_line(desk)
    assert f"--adapter {desk.workspace.adapters / 'spot.safetensors'}:0.5" in told and "--seed 7" in told
    told = _drawing().command_line(replace(desk, user="ann"))
    assert str(desk.workspace.root) not in told and "spot.safetensors:0.5" in told


def test_a_photograph_that_cannot_be_read_leaves_the_cards(desk: Desk):
    cover = desk.workspace.concepts / "octo" / "00.png"
    content = cover.read_bytes()
    try:
        cover.write_bytes(content[:200])
        assert [card.id for card in adapter_cards(desk, None)] == [
            f"{name}.safetensors" for name in ("octo", "shelly", "spot")
        ]
    finally:
        cover.write_bytes(content)


def test_programs_draw_by_the_names_of_concepts(desk: Desk):
    job = programs.draw(desk, "a photo of <octo> and <spot>", ["octo", "spot.safetensors"], seed=5, strengths=[1, 0.5])
    assert job["kind"] == "generate" and job["state"] == "queued"
    wrong: list[Any] = [["nobody"], [["octo"]], "octo", [None]]
    for concepts in wrong:
        with pytest.raises(InputError):
            programs.draw(desk, "a dog", concepts)


@pytest.mark.parametrize("other", ["octo-2", "octo-old", "an-octo", "zebra"])
def test_of_two_files_of_a_concept_that_of_its_name_is_chosen_and_they_can_be_told_apart(desk: Desk, other: str):
    copy = desk.workspace.adapters / f"{other}.safetensors"
    copy.write_bytes((desk.workspace.adapters / "octo.safetensors").read_bytes())
    try:
        cards = {card.id: card for card in adapter_cards(desk, None)}
        chosen = tuple(Ticked(card.id, card.strength) for card in cards.values() if card.on)
        assert [adapter.id for adapter in chosen] == [f"{name}.safetensors" for name in ("octo", "shelly", "spot")]
        assert cards[copy.name].text == f"<octo>, {copy.name}"
        assert cards["octo.safetensors"].text == "<octo>, octo.safetensors"
        assert cards["spot.safetensors"].text == "<spot>"
        fuse_files([(desk.workspace.adapters / adapter.id, adapter.strength) for adapter in chosen])
        assert programs._file_of(desk, "octo") == "octo.safetensors"
        assert programs._file_of(desk, copy.name) == copy.name
    finally:
        copy.unlink()


def test_a_concept_whose_only_files_have_other_names_is_chosen_once(desk: Desk):
    own = desk.workspace.adapters / "octo.safetensors"
    content, others = own.read_bytes(), [own.with_name("octo-2.safetensors"), own.with_name("octo-3.safetensors")]
    try:
        own.unlink()
        for other in others:
            other.write_bytes(content)
        ticked = [card.id for card in adapter_cards(desk, None) if card.on]
        assert ticked == [others[0].name, "shelly.safetensors", "spot.safetensors"]
        assert programs._file_of(desk, "octo") == others[0].name
    finally:
        own.write_bytes(content)
        for other in others:
            other.unlink(missing_ok=True)


def test_a_job_is_found_by_its_whole_id_only(desk: Desk):
    job = _drawing().submit(desk)
    assert desk.job(job.id).id == job.id
    told = set()
    for wrong in (job.id[:3], job.id[0], "", "zzzzzzzz", job.id + "a"):
        with pytest.raises(InputError) as caught:
            desk.job(wrong)
        told.add(str(caught.value).replace(repr(wrong), "ID"))
    assert len(told) == 1


@pytest.mark.parametrize("name", ["../octo.png", "x" * 300 + ".png", "", "grids", "\0.png", "a.jpg", "grids/../a.png"])
def test_only_pictures_of_theirs_are_pictures(desk: Desk, name: str):
    with pytest.raises(InputError, match="no picture"):
        desk.picture(name)
    assert not desk.has_picture(name)


def test_a_picture_is_there_until_it_goes(desk: Desk):
    path = desk.workspace.images / "grids" / "here.png"
    save_png(Image.new("RGB", (64, 64)), path)
    assert desk.has_picture("grids/here.png") and desk.picture("grids/here.png") == path
    path.unlink()
    assert not desk.has_picture("grids/here.png")
