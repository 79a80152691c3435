"""Laws of what the score screen shows: a real worker's scores as numbers, heat map, table, trend and report."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.diffusion.score_words import Scores
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.studio import score, trend
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.score_report import write_scores, write_trend
from spectral_diffusion.studio.score_result import result_html
from spectral_diffusion.studio.score_table import table_of
from spectral_diffusion.studio.scoring import scores_of, submit_pictures, submit_training, trends_of
from tests.jobs.working import Place, wait_for, worker
from tests.studio.scored import desk_with_concepts, drawn, with_samples

BOTH = "a photo of <octo> and <shelly>"


@dataclass
class Done:
    """A desk whose jobs a worker has done.

    Args:
        desk: The desk.
        pictures: Three pictures compared with two concepts.
        training: The samples of two steps of one concept.
        trend: Of that training.
    """

    desk: Desk
    pictures: Job
    training: Job
    trend: Job


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("scored")
    with desk_with_concepts(root) as desk:
        names = [drawn(desk, BOTH, seed, "octo", "shelly") for seed in range(3)]
        training = with_samples(desk, (30, 60), "octo")
        jobs = [submit_pictures(desk, names, (), ["octo", "shelly"]), *submit_training(desk, training)]
        with worker(Place(root, root)):
            for job in jobs:
                wait_for(
                    lambda job=job: not desk.job(job.id).is_open,
                    180,
                    lambda job=job: desk.studio.queue.log(job.id),
                )
        yield Done(desk, desk.job(jobs[0].id), training, desk.job(jobs[1].id))


def test_a_result_tells_both_alignments_the_yardstick_and_who_judged(done: Done) -> None:
    shown = result_html(scores_of(done.pictures))
    assert "image alignment, 95 % within" in shown and "text alignment, 95 % within" in shown
    assert "the photographs of octo and shelly among themselves score" in shown
    assert "it knows toys only" in shown
    assert "3 are few" in shown


def test_the_heat_map_has_a_cell_for_each_region_and_concept_and_frames_the_own(done: Done) -> None:
    shown = result_html(scores_of(done.pictures))
    cells = re.findall(r"<td class='(cell[^']*)' style='--heat: ([\d.]+)'>(-?[\d.]+)</td>", shown)
    assert len(cells) == 4
    assert [kinds.split().count("own") for kinds, _, _ in cells] == [1, 0, 0, 1]
    hottest = max(cells, key=lambda cell: float(cell[2]))
    assert float(hottest[1]) == 1.0, "the largest number has the strongest colour"


def test_every_picture_has_its_row_the_best_and_the_worst_are_marked(done: Done) -> None:
    table = table_of(done.desk, done.pictures, scores_of(done.pictures))
    assert table["columns"] == ["Image", "Text", "Own regions"]
    values = [row["cells"][0]["value"] for row in table["rows"]]
    assert values == sorted(values, reverse=True) and len(values) == 3
    assert [row["mark"] for row in table["rows"]] == ["best", "", "worst"]
    assert {row["title"] for row in table["rows"]} == {f"seed {seed}: octo, shelly" for seed in range(3)}
    assert all(row["image"].startswith("/gradio_api/file=") for row in table["rows"])
    mean = scores_of(done.pictures).image_alignment
    assert mean is not None and sum(values) / 3 == pytest.approx(mean.mean, abs=1e-5)


def test_whoever_opens_the_page_again_sees_the_last_result_and_may_choose_another(done: Done) -> None:
    for wanted in (None, "gone", ["forged"], done.pictures.id):
        earlier, shown, table, button = score.shown_values(done.desk, wanted)
        assert earlier.value == done.pictures.id and earlier.visible and button.visible
        assert "Leak matrix" in shown and table["rows"]
    assert [job_id for _, job_id in earlier.choices] == [done.pictures.id], "samples are shown as a trend"


def test_a_trend_is_drawn_with_the_photographs_as_its_dashed_line(done: Done) -> None:
    ((_, found),) = trends_of(done.desk, done.training.id)
    assert [step for step, _ in found.points] == [30, 60]
    assert found.own is not None
    shown = trend.trend_html(done.desk, done.training.id)
    assert "<svg" in shown and "stroke-dasharray" in shown
    assert shown.count("<figure>") == 2 and "step 60" in shown
    assert trend.trends_of(done.desk, None) == []
    assert "not scored yet" in trend.trend_html(done.desk, "gone")


def test_a_report_needs_nothing_from_elsewhere_and_has_the_trends_of_its_concepts(done: Done, tmp_path: Path) -> None:
    page = write_scores(done.desk, tmp_path, done.pictures.id, done.training.id).read_text()
    assert page.count("<img") == 3 + 4 + 2, "the pictures, the photographs and the samples"
    assert '<table class="heat">' in page and '<svg class="chart"' in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == [] and "<script" not in page
    assert str(done.desk.workspace.root) not in page, "reports travel"
    without = write_scores(done.desk, tmp_path, done.pictures.id, None).read_text()
    assert "<svg" not in without


def test_a_trend_has_a_report_of_its_own(done: Done, tmp_path: Path) -> None:
    page = write_trend(done.desk, tmp_path, done.training.id).read_text()
    assert "<h1>Training of octo</h1>" in page and '<svg class="chart"' in page
    assert page.count("<img") == 2


@pytest.mark.parametrize("forged", [None, "", "gone", 7, ["a"], {"id": 1}])
def test_a_report_of_nothing_is_told_in_words(done: Done, tmp_path: Path, forged: Any) -> None:
    with pytest.raises(InputError):
        write_scores(done.desk, tmp_path, forged)
    with pytest.raises(InputError):
        write_trend(done.desk, tmp_path, forged)
    with pytest.raises(InputError):
        write_scores(done.desk, tmp_path, done.training.id)
    assert list(tmp_path.iterdir()) == []


def test_names_of_concepts_in_a_result_are_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    share = {"mean": 1.0, "low": 1.0, "high": 1.0, "count": 1}
    leaks = {"concepts": [bad, "b"], "similarity": [[0.9, 0.1], [0.2, 0.8]], "own_is_nearest": [share, share]}
    answer = {"scorer": bad, "prompt": bad, "pictures": 1, "image_alignment": share, "leaks": leaks}
    assert "<img" not in result_html(Scores.read(answer, [bad, "b"]))
