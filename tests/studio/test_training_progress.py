import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.config import load_config
from spectral_diffusion.jobs.job import Job, State
from spectral_diffusion.jobs.progress import Progress
from spectral_diffusion.jobs.specs import build_spec
from spectral_diffusion.studio.training_progress import TrainingProgress

NAMES = ("octo", "shelly", "spot")


def job(state: State = "running", steps=90, names=NAMES, **progress) -> Job:
    config = load_config().override({"training.steps": steps}).model_dump(mode="json")
    spec = build_spec("train", concepts=[{"blob": "0" * 64, "name": name} for name in names], config=config)
    return Job(
        id="abcdefgh",
        spec=spec,
        title=spec.title,
        state=state,
        user=None,
        created=0.0,
        started=10.0,
        finished=70.0 if state in ("done", "cancelled", "failed") else None,
        worker=None,
        progress=Progress(**progress),
        error="the disk is full; free some space" if state == "failed" else None,
    )


def during(name, step, steps=90, pace=2.0, **more):
    return job(
        stage=f"training {name}",
        step=step,
        steps_per_second=pace,
        seconds_left=(steps - step) / pace,
        **{"stages": {f"training {name}": step}, **more},
    )


@given(number=st.integers(0, 2), step=st.integers(0, 90), pace=st.floats(0.1, 100))
def test_what_is_done_and_what_is_left_make_the_whole(number, step, pace):
    progress = TrainingProgress.of(during(NAMES[number], step, pace=pace))
    assert (progress.steps, progress.step, progress.number) == (270, 90 * number + step, number + 1)
    assert progress.seconds_left == pytest.approx((270 - progress.step) / pace)


def test_words_tell_the_concept_its_place_its_step_and_the_time_left():
    found = during("shelly", 30)
    assert TrainingProgress.of(found).in_words(found) == "shelly (2 of 3): step 30 of 90, about 75 s left"
    alone = during("octo", 30, names=("octo",))
    assert TrainingProgress.of(alone).in_words(alone) == "octo: step 30 of 90, about 30 s left"


def test_before_its_first_step_a_new_attempt_stands_where_the_last_one_was():
    stages = {"training octo": 90, "training shelly": 40}
    assert TrainingProgress.of(job(stage="preparing", stages=stages)).step == 130


def test_a_training_that_is_done_is_done_whatever_was_written_last():
    done = job("done", stage="training spot", step=88, steps=90)
    progress = TrainingProgress.of(done)
    assert progress.step == progress.steps
    assert progress.in_words(done) == "done in 60 s"


def test_a_cancelled_training_says_how_far_it_got():
    cancelled = job("cancelled", stage="training octo", step=12, steps=90)
    assert TrainingProgress.of(cancelled).in_words(cancelled) == "cancelled at step 12 of 270"


def test_a_failed_training_says_why():
    failed = job("failed")
    assert TrainingProgress.of(failed).in_words(failed) == "failed: the disk is full; free some space"


def test_one_that_waits_says_how_many_come_before_it():
    waiting = job("queued")
    assert TrainingProgress.of(waiting).in_words(waiting, ahead=2) == "waits, 2 jobs before it"
    assert TrainingProgress.of(waiting).in_words(waiting) == "waits, next"


@given(
    st.dictionaries(st.sampled_from(["training octo", "preparing", "training else"]), st.integers(0, 10**9)),
    st.sampled_from(["", "preparing", "training octo", "training else", "training "]),
    st.integers(0, 10**9),
)
def test_the_bar_never_leaves_its_bounds(stages, stage, step):
    progress = TrainingProgress.of(job(stage=stage, step=step, steps=90, stages=stages))
    assert 0 <= progress.step <= progress.steps


@pytest.mark.parametrize("training", [None, {}, {"steps": "many"}, {"steps": 0}, {"steps": -5}, []])
def test_a_recipe_that_is_damaged_stops_no_list(training):
    damaged = job()
    object.__setattr__(damaged.spec, "config", {"training": training})
    assert TrainingProgress.of(damaged).steps == len(NAMES)
