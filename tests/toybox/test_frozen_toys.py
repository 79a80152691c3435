from pathlib import Path

import pytest

from spectral_diffusion.images import read_image
from spectral_diffusion.toybox.frozen_toys import FROZEN
from spectral_diffusion.toybox.sample_concepts import SAMPLES, write_concept
from spectral_diffusion.toybox.toy import PRETRAINING_MARKS, Toy


def _beyond_pretraining(toy: Toy) -> bool:
    second = (toy.limb_colour, toy.tip_colour, toy.part_colour)
    return any(second) or any(mark.name not in PRETRAINING_MARKS for mark in toy.marks)


def test_there_are_six_of_kinds_that_no_sample_has():
    kinds = [concept.toy.kind for concept in FROZEN.values()]
    assert len(set(kinds)) == len(kinds) == 6
    assert not set(kinds) & {concept.toy.kind for concept in SAMPLES.values()}


@pytest.mark.parametrize("name", FROZEN)
def test_each_carries_a_mark_and_what_pretraining_cannot_show(name: str):
    concept = FROZEN[name]
    assert concept.token == f"<{name}>" and concept.toy.marks and _beyond_pretraining(concept.toy)
    assert concept.toy.kind in concept.description and concept.toy.colour in concept.description


def test_they_are_photographed_as_the_samples_are(tmp_path: Path):
    write_concept("comet", FROZEN["comet"], tmp_path)
    sizes = {read_image(path).size for path in (tmp_path / "comet").glob("*.png")}
    assert sizes == {(128, 128)} and len(list((tmp_path / "comet").glob("*.png"))) == 5
    assert "<comet>" in (tmp_path / "comet" / "concept.toml").read_text()
