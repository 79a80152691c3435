import gradio as gr
import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.studio import train
from spectral_diffusion.studio.advanced import read_recipe
from spectral_diffusion.studio.page import build_page
from tests.command_line import write_concept, write_recipe
from tests.jobs.working import Place, wait_for, worker
from tests.studio.desks import FACTS, desk_in
from tests.studio.screens import Screen
from tests.studio.training import BALANCED, Visit, foresee, known_desk, on, values


@pytest.fixture
def desk(tmp_path):
    with known_desk(tmp_path) as desk:
        yield desk


def seconds(desk, folders, recipe="balanced", **advanced):
    config, slot = read_recipe(desk.studio.config, recipe, *values(**advanced))
    estimate = train.TrainingPlan.of(desk, folders, config, slot).estimate(desk)
    assert estimate is not None
    return estimate.seconds


def test_concepts_with_faults_cannot_be_ticked_and_the_reason_is_told(desk):
    assert [card.id for card in train.concept_cards(desk, None)] == ["octo", "shelly"]
    assert "mug" in train.told_faults(desk).value


def test_at_first_the_first_one_is_ticked_that_is_not_trained(desk):
    assert [card.id for card in train.concept_cards(desk, None) if card.on] == ["octo"]
    assert [card.id for card in train.concept_cards(desk, on("shelly")) if card.on] == ["shelly"]


def test_whoever_comes_with_a_concept_finds_that_one_ticked_and_no_other(desk):
    screen = Screen(desk, build_page(desk.studio, ["train"]).blocks)
    cards, _, foreseen, wanted = screen.do("refresh", ["shelly"], on("octo"), "balanced", *BALANCED)
    assert [card["id"] for card in cards if card["on"]] == ["shelly"]
    assert "shelly in columns" in foreseen and wanted == []
    cards, *_ = screen.do("refresh", wanted, cards, "balanced", *BALANCED)
    assert [card["id"] for card in cards if card["on"]] == ["shelly"], "as long as nobody ticks another"


def test_who_comes_with_a_concept_that_cannot_be_trained_begins_no_other(desk):
    assert not [card for card in train.concept_cards(desk, on("octo"), ["mug"]) if card.on]


def test_the_time_grows_with_concepts_and_steps_and_its_basis_is_told(desk):
    one = seconds(desk, ["octo"])
    assert seconds(desk, ["octo"], "quick") < one < seconds(desk, ["octo"], "best")
    assert one < seconds(desk, ["octo", "shelly"])
    assert seconds(desk, ["octo"], steps=90) == one
    assert "measured on this machine's processor" in foresee(desk, on("octo"))


def test_a_time_that_nobody_measured_is_not_invented(desk):
    desk.studio._facts = None
    assert "not known yet" in foresee(desk, on("octo"))


def test_a_training_by_one_recipe_tells_the_time_of_the_others(desk, monkeypatch):
    def one_step_a_second(config):
        return 1.0 if (config.training.cutmix_wide_probability, config.training.batch_size) == (0, 2) else None

    monkeypatch.setattr(desk.studio.queue, "pace", one_step_a_second)
    assert "earlier trainings" in foresee(desk, on("octo"), "balanced")
    assert "earlier trainings" in foresee(desk, on("octo"), "best")
    assert "this machine's processor" in foresee(desk, on("octo"), batch=3), "another batch size is another pace"
    with_wide, without = (seconds(desk, ["octo"], name, steps=1000) for name in ("best", "balanced"))
    assert with_wide == pytest.approx(1.15 * without, rel=0.03)


def test_the_columns_that_will_be_taken_are_told(desk):
    assert "octo in columns 0-3; shelly in columns 4-7" in foresee(desk, on("octo", "shelly"))
    assert not desk.workspace.ledger_path.exists(), "telling claims nothing"


@pytest.mark.parametrize("concepts", [[["octo"]], [{"octo": 1}], ["octo", None], [1], {"octo": 1}, "octo"])
def test_concepts_that_are_no_names_are_refused(desk, concepts):
    with pytest.raises(InputError, match="the concepts are no list"):
        train.train(desk, concepts, "quick")
    assert desk.jobs() == []


def test_columns_of_others_are_refused_with_their_names(desk):
    desk.ledger.claim("toybox", FACTS.fingerprints, "rex", 4, 4, 1)
    said = foresee(desk, on("octo"), slot="1")
    assert "rex" in said and "free it in Slots" in said and "spectral-diffusion" not in said
    with pytest.raises(SlotError, match="rex"):
        train.read_plan(desk, on("octo"), "quick", *values(slot="1")).submit(desk)
    assert desk.jobs() == []


def test_all_wrong_values_are_named_at_once(desk):
    said = foresee(desk, on("octo"), rank=0, batch=0, masks="magic", rate=7)
    assert all(name in said for name in ("rank", "batch_size", "masks", "unet"))


@pytest.mark.parametrize("slot", ["-1", "x", "1.5", "9" * 50, "²", {"a": 1}, [], 10_000])
def test_what_is_no_slot_is_refused(desk, slot):
    if slot == []:
        assert train.read_plan(desk, on("octo"), "quick", *values(slot=slot)).slot == "auto"
        return
    with pytest.raises(InputError, match="slot"):
        train.read_plan(desk, on("octo"), "quick", *values(slot=slot))


@pytest.mark.parametrize("forged", [None, "octo", [None], [{"id": 3}], {"id": "octo"}, [[]]])
def test_forged_cards_are_refused_in_words(desk, forged):
    with pytest.raises(InputError):
        train.read_plan(desk, forged, "quick", *BALANCED)
    assert isinstance(train.foresee(desk, forged, "quick", *BALANCED), str)


@pytest.mark.parametrize("folder", ["../octo", "/etc", "mug", "", "octo/..", "x" * 10_000, "<img src=x>"])
def test_only_sound_concepts_of_ones_own_are_trained(desk, folder):
    with pytest.raises(InputError):
        train.train(desk, [folder], "quick")
    assert "<img" not in train.foresee(desk, on(folder), "quick", *BALANCED)
    assert desk.jobs() == []


@pytest.mark.parametrize("steps", [0, -1, 10**9, 1.5, "many", True, [90], float("nan")])
def test_steps_that_are_none_are_refused(desk, steps):
    with pytest.raises(InputError, match="steps"):
        train.train(desk, ["octo"], "quick", steps)


def test_values_left_empty_are_the_recipes(desk):
    config, slot = read_recipe(desk.studio.config, "balanced", *BALANCED)
    assert slot == "auto"
    assert config.training.steps == desk.studio.config.training.steps


def test_the_screen_stands_with_hints_on_all_that_can_be_pressed(desk):
    page = build_page(desk.studio, ["train"]).blocks
    kinds = (gr.Button, gr.Number, gr.Textbox, gr.Radio, gr.Dropdown, gr.Checkbox, gr.Gallery)
    unexplained = [block for block in page.blocks.values() if isinstance(block, kinds) and not block.elem_id]
    assert not unexplained
    named = {function.api_name for function in page.fns.values() if function.api_visibility == "public"}
    assert named == {"train", "jobs", "job", "cancel", "retry"}


def test_a_training_from_the_page_to_its_adapter(miniature, tmp_path):
    write_concept(tmp_path / "concepts" / "rex", "dog", 3)
    with desk_in(tmp_path) as desk:
        desk.studio.config = load_config(write_recipe(tmp_path, miniature, steps=8, checkpoint_every=2))
        with worker(Place(tmp_path, miniature)):
            train.train(desk, ["rex"])
            visit = Visit(desk)
            job_id = visit.shown["job"]
            wait_for(lambda: not desk.job(job_id).is_open, 120, lambda: desk.studio.queue.log(job_id))
        visit.tick()
        assert visit.states == {"rex": "done"}, desk.job(job_id).error
        assert "rex: step 8 of 8" in visit.curve.value
        assert [item["caption"] for item in visit.samples.value] == ["rex, step 2", "rex, step 4", "rex, step 6"]
        assert train.draw_shown(desk, visit.shown)[0] == ["rex.safetensors"]
        assert "Trained already: rex" in foresee(desk, on("rex"))
        visit.press(train.remove_shown).press(train.remove_shown)
        assert visit.rows == []
        assert (tmp_path / "adapters" / "rex.safetensors").exists(), "adapters stay"
