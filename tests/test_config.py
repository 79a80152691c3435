"""Laws of recipes: complete, frozen, overridable key by key, and every fault told at once."""

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from spectral_diffusion.config import OTHER_BASES, Config, load_config, load_generation
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import packaged_configs


def _write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [field.annotation for field in model.model_fields.values()]
    return [model] + [
        found for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel) for found in _models(kind)
    ]


def test_the_recipe_files_are_the_only_defaults() -> None:
    assert all(field.is_required() for model in _models(Config) for field in model.model_fields.values())


RECIPES = [path for path in sorted(packaged_configs().glob("*.toml")) if path.stem != OTHER_BASES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_packaged_recipe_is_valid_and_keeps_its_values(recipe: Path) -> None:
    config = load_config(base=recipe.stem)
    written = tomllib.loads(recipe.read_text())
    assert config.base == recipe.stem
    assert config.training.steps == written["training"]["steps"]
    assert config.training.learning_rates.model_dump() == written["training"]["learning_rates"]


def test_a_file_overrides_just_its_own_keys(tmp_path: Path) -> None:
    recipe = load_config()
    own = load_config(_write(tmp_path, "[training]\nrank = 7\n[training.learning_rates]\nunet = 0.5\n"))
    assert own.training.rank == 7
    assert own.training.learning_rates.unet == 0.5
    assert (
        own.override({"training.rank": recipe.training.rank}).override(
            {"training.learning_rates.unet": recipe.training.learning_rates.unet}
        )
        == recipe
    )


def test_options_that_were_not_given_change_nothing() -> None:
    recipe = load_config()
    assert recipe.override({"training.rank": None, "generation.steps": None}) == recipe
    assert recipe.override({"generation.steps": 3}).generation.steps == 3


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        load_config().training.rank = 2


def test_all_faults_are_told_at_once_with_key_and_allowed_values(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        """
        [training]
        rank = 0
        rnk = 3
        method = "loha"
        caption_templates = ["a photo"]
        [training.learning_rates]
        unet = nan
        [paint]
        steps = 4
        """,
    )
    with pytest.raises(InputError) as caught:
        load_config(path)
    told = str(caught.value)
    assert "6 faults" in told
    assert str(path) in told
    for words in (
        "training.rank = 0: should be greater than or equal to 1",
        "training.rnk is no key (did you mean rank",
        "training.method = 'loha': should be 'spectral', 'rotation' or 'lora'",
        "training.caption_templates",
        "training.learning_rates.unet",
        "paint is no key (known here: base, generation, training)",
    ):
        assert words in told


@pytest.mark.parametrize("text", ["[training", "training = 3", "\x00"], ids=["broken", "a number", "control"])
def test_a_file_of_another_shape_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, text))
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_base_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match=r"no recipe for base 'sd99'.*toybox"):
        load_config(base="sd99")


def test_a_base_without_recipe_needs_a_complete_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="generation is missing"):
        load_config(_write(tmp_path, "[training]\nrank = 2\n"), base="sd99")
    complete = (packaged_configs() / "toybox.toml").read_text()
    assert load_config(_write(tmp_path, complete), base="sd99").base == "sd99"
    assert load_config(_write(tmp_path, 'base = "sd99"\n' + complete)).base == "sd99"


def test_drawing_needs_no_recipe_and_leaves_the_size_to_the_base(tmp_path: Path) -> None:
    name, values = load_generation(base="sd99")
    assert name == "sd99"
    assert values == {"steps": 25, "guidance_scale": 7.5, "sampler": "dpm-solver++", "negative_prompt": ""}
    partial = _write(tmp_path, 'base = "sd99"\n[generation]\nsteps = 9\nheight_px = 640\n[training]\nrank = 2\n')
    assert load_generation(partial) == ("sd99", {**values, "steps": 9, "height_px": 640})
    assert load_generation(partial, "mine")[0] == "mine"
    # No base has its recipe in that file, not even one of that name.
    assert load_generation(base=OTHER_BASES) == (OTHER_BASES, values)
    with pytest.raises(InputError, match=f"no recipe for base '{OTHER_BASES}'"):
        load_config(base=OTHER_BASES)


def test_drawing_with_a_recipe_is_as_it_says(tmp_path: Path) -> None:
    assert load_generation() == ("toybox", load_config().generation.model_dump())
    own = _write(tmp_path, "[generation]\nsteps = 3\n")
    assert load_generation(own)[1] == load_config(own).generation.model_dump()


def test_faults_in_what_a_drawing_reads_are_all_told(tmp_path: Path) -> None:
    path = _write(tmp_path, "[generation]\nstep = 3\nwidth_px = 0\n[training]\nrank = 0\n[paint]\n")
    with pytest.raises(InputError, match="4 faults") as caught:
        load_generation(path, "sd99")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("template", ["a {photo} of {}", "{{}}", "{} and {}", "no place"])
def test_a_template_has_one_place_for_the_token_and_no_other_brace(template: str) -> None:
    with pytest.raises(InputError, match="template"):
        load_config().override({"training.caption_templates": [template]})


def test_the_base_that_was_asked_for_counts_more_than_the_files(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text('base = "other"\n[training]\nrank = 2\n')
    assert load_config(recipe, "toybox").base == "toybox"
    with pytest.raises(InputError):
        load_config(recipe)


def test_lora_has_no_singular_values_to_train() -> None:
    assert load_config().override({"training.method": "lora"}).training.method == "lora"
    for method in ("spectral", "rotation"):
        load_config().override({"training.method": method, "training.train_singular_values": True})
    with pytest.raises(InputError, match=r"training\.train_singular_values = True: the method lora holds no singular"):
        load_config().override({"training.method": "lora", "training.train_singular_values": True})
