"""Normalised identity: who stands where, and how much they are who was meant."""

import pytest
import torch
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.instrument.exam import INSTRUMENT, SCORER
from spectral_diffusion.toybox.instrument.finder import ToyFinder, load_finder
from spectral_diffusion.toybox.instrument.identity import (
    Yardstick,
    identity_alone,
    identity_together,
    measure_toy,
)
from spectral_diffusion.toybox.judges import ToyClip
from spectral_diffusion.toybox.sample_concepts import SAMPLES
from spectral_diffusion.toybox.scene import Placement, Scene, render
from spectral_diffusion.toybox.toy import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("identity")]
OCTO, SPOT = SAMPLES["octo"].toy, SAMPLES["spot"].toy


def _picture(*toys: Toy) -> Tensor:
    """A wide render of toys from left to right."""
    spread = [(number + 0.5) / len(toys) for number in range(len(toys))]
    placements = tuple(Placement(toy, x, 0.87, 0.62) for toy, x in zip(toys, spread, strict=True))
    return render([Scene(placements, "in a garden", 192, 128)])[0].image


@pytest.fixture(scope="module")
def finder() -> ToyFinder:
    return load_finder(INSTRUMENT / "finder.safetensors")


@pytest.fixture(scope="module")
def clip() -> ToyClip:
    return ToyClip(SCORER, "cpu")


@pytest.fixture(scope="module")
def yardsticks(finder: ToyFinder, clip: ToyClip) -> dict[str, Yardstick]:
    plain = {"octo": Toy("octopus", "green"), "spot": Toy("dog", "brown")}
    return {name: measure_toy(SAMPLES[name].toy, [_picture(plain[name])], finder, clip) for name in ("octo", "spot")}


def test_a_render_of_the_toy_is_nearly_one_and_another_of_its_kind_nearly_none(
    finder: ToyFinder, clip: ToyClip, yardsticks: dict[str, Yardstick]
) -> None:
    own, other = _picture(OCTO), _picture(Toy("octopus", "green"))
    (same,) = identity_alone([own], "octo", yardsticks, finder, clip)
    (else_,) = identity_alone([other], "octo", yardsticks, finder, clip)
    assert same.is_own and same.identity > 0.85
    assert else_.identity < 0.3


def test_each_stands_in_its_place(finder: ToyFinder, clip: ToyClip, yardsticks: dict[str, Yardstick]) -> None:
    (regions,) = identity_together([_picture(OCTO, SPOT)], ["octo", "spot"], yardsticks, finder, clip)
    assert [region.is_own for region in regions] == [True, True]
    assert all(region.identity > 0.8 for region in regions)
    assert regions[0].box is not None and regions[1].box is not None and regions[0].box[0] < regions[1].box[0]


def test_swapped_toys_are_failures(finder: ToyFinder, clip: ToyClip, yardsticks: dict[str, Yardstick]) -> None:
    (regions,) = identity_together([_picture(SPOT, OCTO)], ["octo", "spot"], yardsticks, finder, clip)
    assert [(region.identity, region.closest) for region in regions] == [(0.0, "spot"), (0.0, "octo")]


@pytest.mark.parametrize(("there", "missing"), [(OCTO, 1), (SPOT, 0)])
def test_a_missing_toy_is_a_failure_and_the_other_is_still_seen(
    there: Toy, missing: int, finder: ToyFinder, clip: ToyClip, yardsticks: dict[str, Yardstick]
) -> None:
    (regions,) = identity_together([_picture(there)], ["octo", "spot"], yardsticks, finder, clip)
    assert regions[missing].identity == 0 and regions[missing].closest is None
    assert regions[1 - missing].is_own


def test_an_empty_picture_has_nobody(finder: ToyFinder, clip: ToyClip, yardsticks: dict[str, Yardstick]) -> None:
    empty = render([Scene((), "in a garden", 192, 128)])[0].image
    (regions,) = identity_together([empty], ["octo", "spot"], yardsticks, finder, clip)
    assert [region.closest for region in regions] == [None, None]


def test_without_a_toy_in_the_draws_there_is_no_yardstick(finder: ToyFinder, clip: ToyClip) -> None:
    empty = render([Scene((), "in a garden")])[0].image
    with pytest.raises(InputError, match="no toy is found in 2 draws of an octopus"):
        measure_toy(OCTO, [empty, empty], finder, clip)


def test_the_yardstick_runs_from_class_word_to_fresh_render() -> None:
    reference = torch.nn.functional.normalize(torch.ones(192), dim=0)
    yardstick = Yardstick(reference, 0.2, 1.0)
    assert yardstick.identity(reference) == pytest.approx(1.0)
    assert yardstick.identity(torch.zeros(192)) == pytest.approx(-0.25)
