import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.config import load_config
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE, RECIPES, recipe_of, sample_every
from spectral_diffusion.workspace import packaged_configs

CONFIG = load_config()


def test_balanced_is_the_bases_own_recipe_with_samples():
    planned = CONFIG.override(recipe_of(DEFAULT_RECIPE).overrides(CONFIG))
    own = CONFIG.override({"training.sample_every": planned.training.sample_every})
    assert planned == own
    assert planned.training.sample_every > 0


def test_a_quick_training_takes_fewer_steps_and_the_best_more():
    steps = [RECIPES[name].steps(CONFIG) for name in ("quick", "balanced", "best")]
    assert steps == [45, 90, 250]
    best = CONFIG.override(RECIPES["best"].overrides(CONFIG)).training
    assert best.learning_rates.unet == pytest.approx(1e-3)
    assert best.cutmix_wide_probability == 0.3


@pytest.mark.parametrize(
    "base", sorted(path.stem for path in packaged_configs().glob("*.toml") if path.stem != "other")
)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_with_every_base(base, name):
    config = load_config(base=base)
    config.override(RECIPES[name].overrides(config))


@given(own=st.integers(1, 10_000), warmup=st.integers(0, 10_000), steps=st.none() | st.integers(1, 10_000))
def test_the_warm_up_never_takes_a_larger_part_than_in_the_bases_own_recipe(own, warmup, steps):
    config = CONFIG.override({"training.steps": own, "training.warmup_steps": warmup})
    for recipe in RECIPES.values():
        planned = config.override(recipe.overrides(config, steps)).training
        assert planned.steps == (steps or recipe.steps(config))
        assert planned.warmup_steps <= warmup
        # One step of rounding.
        assert planned.warmup_steps / planned.steps <= warmup / own + 1 / planned.steps


@given(wide=st.floats(0, 1), cutmix=st.booleans())
def test_wide_pictures_are_never_taken_away_and_need_cut_mix(wide, cutmix):
    values = {"training.cutmix_wide_probability": wide, "training.cutmix_probability": 0.8 * cutmix}
    config = CONFIG.override(values)
    planned = config.override(RECIPES["best"].overrides(config)).training
    assert planned.cutmix_wide_probability == (max(wide, 0.3) if cutmix else wide)


@given(st.integers(2, 100_000))
def test_a_few_samples_come_before_the_end(steps):
    drawn = [step for step in range(1, 5) if step * sample_every(steps) < steps]
    assert 1 <= len(drawn) <= 3


@pytest.mark.parametrize("name", ["", "Best", "fastest", None, 3, ["quick"], {"a": 1}, "x" * 10_000])
def test_what_is_no_recipe_is_refused_in_words(name):
    with pytest.raises(InputError) as told:
        recipe_of(name)
    assert "quick, balanced, best" in told.value.remedy
    assert len(told.value.what) < 100
