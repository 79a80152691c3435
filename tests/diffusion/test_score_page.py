"""Laws of scores in words and as a page: true sentences, the best first, text stays text, nothing is fetched."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.diffusion.score_page import PICTURES_LIMIT, Scored, ranked, score_report
from spectral_diffusion.diffusion.score_trend import Trend
from spectral_diffusion.diffusion.score_words import PictureScore, Scores, leak_sentences
from spectral_diffusion.errors import InputError
from spectral_diffusion.report import Picture

COSINE = st.floats(-1, 1)


def interval(mean: float, count: int = 2) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": min(mean + 0.01, 1.0), "count": count}


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "scorer": "toybox",
        "prompt": "a photo of <octo>",
        "pictures": 2,
        "image_alignment": interval(0.83),
        "text_alignment": interval(0.25),
        "each": [{"image": 0.80, "text": 0.24}, {"image": 0.86, "text": 0.26}],
        **changes,
    }


def leaking(**changes: Any) -> Scores:
    rows = [[0.9, 0.5, 0.4], [0.5, 0.9, 0.78], [0.4, 0.5, 0.9]]
    leaks = {"concepts": ["octo", "shelly", "spot"], "similarity": rows, "own_is_nearest": [interval(1.0)] * 3}
    each = [{"image": 0.9, "text": 0.2, "leaks": rows}] * 2
    return Scores.read(answer(leaks=leaks, each=each, **changes), ["octo", "shelly", "spot"])


def test_the_photographs_among_themselves_are_the_yardstick() -> None:
    said = " ".join(Scores.read(answer(photographs=[[0.93]]), ["octo"]).sentences())
    assert "octo's own photographs among themselves score 0.93" in said
    assert "among themselves" not in " ".join(Scores.read(answer(), ["octo"]).sentences())


def test_the_strongest_leak_is_named_with_its_region() -> None:
    said = " ".join(leak_sentences(leaking()))
    assert "Regions look most like their own concept in 3 of 3" in said
    assert "shelly's region looks 0.78 like spot and 0.90 like shelly" in said


def test_concepts_that_are_alike_anyway_have_not_leaked() -> None:
    alike = [[0.95, 0.1, 0.1], [0.1, 0.95, 0.78], [0.1, 0.78, 0.95]]
    said = " ".join(leak_sentences(leaking(photographs=alike)))
    assert "region looks 0.78 like spot" not in said
    assert "photographs look 0.10 like" in said


def test_a_concept_of_one_photograph_has_no_yardstick_and_is_still_reported() -> None:
    alone = [[None, 0.1, 0.1], [0.1, 0.95, 0.78], [0.1, 0.78, 0.95]]
    scores = leaking(photographs=alone)
    assert scores.own_likeness("octo") is None and scores.own_likeness("spot") == 0.95
    page = score_report(scores).html()
    assert "region of octo" in page and ">photographs of octo<" not in page


def test_few_pictures_are_called_few_and_one_says_nothing() -> None:
    assert "few" in " ".join(Scores.read(answer()).sentences())
    assert "few" not in " ".join(Scores.read(answer(pictures=8)).sentences())
    assert "says nothing about the next" in " ".join(Scores.read(answer(pictures=1)).sentences())


def test_a_missing_prompt_is_told() -> None:
    said = " ".join(Scores.read(answer(prompt=None, text_alignment=None)).sentences())
    assert "No text alignment" in said


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "scores",
        {},
        {"scorer": "toybox", "pictures": 0},
        answer(each=[{"image": float("nan")}]),
        answer(image_alignment={"mean": 3, "low": 0, "high": 1, "count": 1}),
        answer(leaks={"concepts": ["a", "b"], "similarity": [[1.0]], "own_is_nearest": []}),
        answer(photographs=[[0.9, 0.1], [0.1, 0.9]]),
    ],
)
def test_what_is_no_answer_of_a_score_job_is_refused_in_words(bad: Any) -> None:
    with pytest.raises(InputError):
        Scores.read(bad, ["octo"])


@given(st.lists(st.builds(PictureScore, image=st.none() | COSINE, text=st.none() | COSINE), max_size=30))
def test_pictures_are_ranked_the_best_first_and_none_is_lost(each: list[PictureScore]) -> None:
    order = ranked(each)
    assert sorted(order) == list(range(len(each)))
    values = [each[index].main for index in order]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[: len(known)] == known, "those without a score come last"


def test_a_report_holds_the_numbers_the_pictures_and_the_heat_map(tmp_path: Path) -> None:
    picture = Image.new("RGB", (600, 400), "#c2512c")
    picture.save(tmp_path / "a.png")
    pictures = [Scored("a.png", tmp_path / "a.png"), Scored("<b>.png", None)]
    page = score_report(leaking(), pictures, [Picture(picture, "octo, photograph 1")]).html()
    assert "0.83" in page and "95 % within 0.82 to 0.84" in page
    assert "region of shelly" in page and "0.780" in page
    assert "&lt;b&gt;.png" in page and "<b>.png" not in page
    assert page.count("<img") == 2, "the picture that is there, and the photograph"
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_of_many_pictures_the_best_and_the_worst_are_shown_and_all_are_told(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "#c2512c").save(picture)
    each = [{"image": index / 40} for index in range(40)]
    scores = Scores.read(answer(pictures=40, each=each), ["octo"])
    page = score_report(scores, [Scored(f"picture {index}", picture) for index in range(40)]).html()
    assert page.count("<img") == PICTURES_LIMIT
    assert f'alt="picture 39: image {39 / 40:.2f}"' in page and 'alt="picture 0: image 0.00"' in page
    assert 'alt="picture 20' not in page
    assert all(f'<th scope="row">picture {index}</th>' in page for index in range(40))


def test_a_trend_is_the_mean_of_each_step_and_goes_its_way_in_words() -> None:
    each = [{"image": value} for value in (0.5, 0.7, 0.9, 0.8)]
    scores = Scores.read(answer(pictures=4, each=each, photographs=[[0.93]]), ["octo"])
    trend = Trend.of("octo", [30, 30, 90, 120], scores)
    assert trend.points == ((30, pytest.approx(0.6)), (90, 0.9), (120, 0.8))
    assert trend.sentence.startswith("octo rises from 0.60 at step 30 to 0.80 at step 120")
    assert "It is highest at step 90, 0.90." in trend.sentence
    assert "among themselves score 0.93" in trend.sentence


def test_a_report_of_a_training_alone_has_its_line_with_the_photographs_beside_it() -> None:
    page = score_report(None, trends=[Trend("octo", ((30, 0.5), (60, 0.8)), 0.93)]).html()
    assert "<h1>Training of octo</h1>" in page
    assert "stroke-dasharray" in page
    assert "<td>0.800</td>" in page
