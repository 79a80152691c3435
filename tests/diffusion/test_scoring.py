"""Scores of saved pictures: the mean is that of each, and every picture is looked at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spectral_diffusion.diffusion.scorer import OnceScorer, Scorer, load_scorer
from spectral_diffusion.diffusion.scoring import score_pictures
from tests.command_line import call
from tests.diffusion.practice import make_concept
from tests.miniature_scorer import make_miniature_scorer

COLOURS = ("red", "green", "blue", "purple", "tan")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature_scorer(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{colour}.png" for colour in COLOURS]
    for path in paths:
        picture = Image.new("RGB", (64, 32), path.stem)
        picture.paste("white", (0, 0, 20 + len(path.stem), 20))
        picture.save(path)
    return paths


class _Counting:
    """Loads a scorer that notes how many pictures it looks at."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, name: str, **options: Any) -> Scorer:
        scorer = load_scorer(name, **options)
        preprocess = scorer.preprocess

        def look(image: Image.Image) -> Any:
            self.seen += 1
            return preprocess(image)

        scorer.preprocess = look
        return scorer


def test_each_picture_has_the_score_that_it_has_alone_and_the_mean_is_theirs(clip: Path, pictures: list[Path]) -> None:
    concept, asked = make_concept(), "a photo of <octo>"
    found = score_pictures(pictures, [concept], asked, scorer=str(clip))
    values = found.to_dict()
    assert len(values["each"]) == len(pictures) and "leaks" not in values["each"][0]
    for what in ("image", "text"):
        each = [picture[what] for picture in values["each"]]
        assert len(set(each)) > 1
        assert sum(each) / len(each) == pytest.approx(values[f"{what}_alignment"]["mean"], abs=1e-6)
    for path, picture in zip(pictures, values["each"], strict=True):
        (alone,) = score_pictures([path], [concept], asked, scorer=str(clip)).to_dict()["each"]
        assert alone == pytest.approx(picture, abs=1e-5)
    assert json.loads(json.dumps(values)) == values


def test_what_nothing_was_given_to_compare_with_has_no_score(clip: Path, pictures: list[Path]) -> None:
    by_text = score_pictures(pictures, prompt="a dog", scorer=str(clip)).to_dict()["each"]
    by_photographs = score_pictures(pictures, [make_concept()], scorer=str(clip)).to_dict()["each"]
    assert all(picture["image"] is None and picture["text"] is not None for picture in by_text)
    assert all(picture["image"] is not None and picture["text"] is None for picture in by_photographs)


def test_with_several_concepts_each_picture_tells_its_leaks(clip: Path, pictures: list[Path]) -> None:
    concepts = [make_concept("octo"), make_concept("rob", class_word="robot", colour="orange")]
    values = json.loads(json.dumps(score_pictures(pictures, concepts, "a dog", scorer=str(clip)).to_dict()))
    for region in range(2):
        for concept in range(2):
            each = [picture["leaks"][region][concept] for picture in values["each"]]
            assert sum(each) / len(each) == pytest.approx(values["leaks"]["similarity"][region][concept], abs=1e-6)
    for picture in values["each"]:
        own = (picture["leaks"][0][0] + picture["leaks"][1][1]) / 2
        assert picture["image"] == pytest.approx(own, abs=1e-6)


def test_every_picture_is_looked_at_once(clip: Path, pictures: list[Path]) -> None:
    concepts = [make_concept("octo"), make_concept("rob", class_word="robot", colour="orange")]
    counting = _Counting()
    score_pictures([*pictures, pictures[0]], concepts, "a dog", scorer=str(clip), load=counting)
    photographs = sum(len(concept.photographs) for concept in concepts)
    # Whole, and cut into the halves where the concepts stand; the same picture twice is one.
    assert counting.seen == len(pictures) * 3 + photographs


def test_looking_once_changes_no_vector(clip: Path, pictures: list[Path]) -> None:
    scorer = load_scorer(str(clip))
    images = [Image.open(path) for path in pictures]
    once = OnceScorer(scorer)
    for chosen in (images[:2], images[::-1], images[1:3] * 2):
        assert once.embed_images(chosen).allclose(scorer.embed_images(chosen), atol=1e-6)
    assert once.embed_texts(["a dog"]).equal(scorer.embed_texts(["a dog"]))


def test_the_command_line_tells_the_score_of_each(
    clip: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--prompt", "a dog", "--scorer", clip, "--workspace", tmp_path, "--json"]
    values = call(capsys, "score", *pictures, *options).expect(0).json
    assert [picture["text"] for picture in values["each"]] == pytest.approx(
        [picture["text"] for picture in score_pictures(pictures, prompt="a dog", scorer=str(clip)).to_dict()["each"]]
    )
