"""The queue without a worker: what is queued, cancelled, retried and found."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest
from dbos import DBOS
from sqlalchemy import text

from spectral_diffusion.config import load_config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.specs import TrainSpec, read_spec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import kept_concepts
from spectral_diffusion.workspace import Workspace
from tests.command_line import call, write_concept, write_recipe
from tests.jobs.working import Place


def job_folders(place: Place) -> list[str]:
    """Of all jobs that have one; what jobs are made from lies beside them."""
    return [path.name for path in (place.root / "jobs").glob("*") if path.name != "blobs"]


def test_a_job_is_found_by_its_id_and_by_how_it_begins(place: Place) -> None:
    job = place.train("red")
    assert job.state == "queued" and job.user == "tester" and job.title == "train red"
    assert place.queue.job(job.id).spec == job.spec
    assert place.queue.job(job.id[:5]).id == job.id
    assert [other.id for other in place.queue.jobs()] == [job.id]
    assert place.queue.jobs(user="nobody") == []


@pytest.mark.parametrize("job_id", ["nope", "", "../../etc", "a" * 5000, "'; drop table jobs;--", "\x00"])
def test_an_unknown_job_is_not_found(place: Place, job_id: str) -> None:
    place.train("red")
    for ask in (place.queue.job, place.queue.cancel, place.queue.retry, place.queue.log, place.queue.losses):
        with pytest.raises(InputError, match="not found"):
            ask(job_id)


def test_an_unknown_job_of_a_queue_that_nobody_used_is_not_found_and_makes_no_file(place: Place) -> None:
    with pytest.raises(InputError, match="not found"):
        place.queue.job("abc")
    assert place.queue.jobs() == []
    assert list(place.root.iterdir()) == []


def test_tables_that_were_dropped_under_a_running_program_are_made_again(place: Place) -> None:
    place.train("red")
    file = place.queue.database.file
    assert file is not None
    with sqlite3.connect(file) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{name}"')
    with pytest.raises(InputError, match="cannot be used"):
        place.queue.jobs()
    assert place.queue.jobs() == []
    assert place.train("red").state == "queued"


def test_two_submits_with_one_key_are_one_job(place: Place) -> None:
    first = place.train("red", key="once")
    assert place.train("red", key="once").id == first.id
    assert place.train("red", key="again").id != first.id
    assert place.train("red").id not in (first.id,)
    assert len(place.queue.jobs()) == 3


def test_many_submits_at_once_with_one_key_are_one_job(place: Place) -> None:
    place.queue.database.prepare()
    faults: list[BaseException] = []

    def submit() -> None:
        mine = Place(place.root, place.base)
        try:
            mine.queue.submit(lambda store: place.train_spec(store, "red"), user="tester", key="once")
        except BaseException as error:
            faults.append(error)
        finally:
            mine.queue.close()

    place.train_spec(place.queue.store, "red")
    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(place.queue.jobs()) == 1


def test_a_user_may_have_only_so_many_open_jobs(place: Place) -> None:
    for name in ("red", "blue"):
        place.queue.submit(lambda store, name=name: place.train_spec(store, name), user="ann", open_jobs_limit=2)
    with pytest.raises(InputError, match="the limit is 2"):
        place.queue.submit(lambda store: place.train_spec(store, "green"), user="ann", open_jobs_limit=2)
    place.queue.submit(lambda store: place.train_spec(store, "green"), user="bob", open_jobs_limit=2)
    place.queue.cancel(place.queue.jobs(user="ann")[0].id)
    place.queue.submit(lambda store: place.train_spec(store, "green"), user="ann", open_jobs_limit=2)


def test_many_submits_at_once_do_not_pass_the_limit(place: Place) -> None:
    place.train_spec(place.queue.store, "red")
    place.queue.database.prepare()
    outcomes: list[str] = []
    ready = threading.Barrier(6)

    def submit() -> None:
        mine = Place(place.root, place.base)

        def build(store: Store) -> TrainSpec:
            # Here all have been let in already.
            ready.wait(20)
            return place.train_spec(store, "red")

        try:
            mine.queue.submit(build, user="ann", open_jobs_limit=2)
            outcomes.append("queued")
        except InputError as error:
            outcomes.append("refused" if "the limit is 2" in str(error) else str(error))
        finally:
            mine.queue.close()

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["queued"] * 2 + ["refused"] * 4
    assert len(place.queue.jobs(user="ann")) == 2


def test_the_tables_are_looked_for_once_and_again_when_the_file_is_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate, made = DBOS.migrate, []
    monkeypatch.setattr(DBOS, "migrate", lambda url: (made.append(url), migrate(url)))
    job = place.train("red")
    for _ in range(3):
        assert place.queue.job(job.id).id == place.queue.jobs()[0].id == job.id
    assert len(made) == 1
    place.queue.close()
    for path in place.root.glob("jobs.sqlite*"):
        path.unlink()
    again = Place(place.root, place.base)
    assert again.queue.jobs() == []
    assert again.train("red").state == "queued"
    assert len(made) == 2
    again.queue.close()


def test_one_queue_may_be_asked_by_many_threads(place: Place) -> None:
    ids = {place.draw().id for _ in range(3)}
    faults: list[object] = []

    def poll() -> None:
        for _ in range(10):
            try:
                found = {job.id for job in place.queue.jobs()}
                assert found == ids and all(place.queue.job(job_id).is_open for job_id in ids)
            except BaseException as error:
                faults.append(error)

    threads = [threading.Thread(target=poll) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_the_pace_is_that_of_done_trainings_whose_steps_cost_as_much(place: Place) -> None:
    recipe = load_config(write_recipe(place.root, place.base))
    assert place.queue.pace(recipe) is None
    paces = {"red": (4.0, {}), "blue": (2.0, {"steps": 90}), "green": (100.0, {"batch_size": 7}), "pink": (50.0, {})}
    for name, (pace, training) in paces.items():
        job = place.train(name, **training)
        ProgressWriter(JobFolder.of(place.queue.store, job.id).path).tell(now=True, steps_per_second=pace)
        if name != "pink":
            with place.queue.database.engine.begin() as writing:
                writing.execute(
                    text("update workflow_status set status = 'SUCCESS' where workflow_uuid = :id"), {"id": job.id}
                )
    # A quarter and a half of a second a step.
    assert place.queue.pace(recipe) == pytest.approx(1 / 0.375)
    assert place.queue.pace(recipe, count=1) == pytest.approx(2.0)
    assert place.queue.pace(recipe.override({"training.batch_size": 7})) == pytest.approx(100.0)
    assert place.queue.pace(load_config()) is None


def test_a_waiting_job_is_cancelled_at_once_and_can_be_retried(place: Place) -> None:
    job = place.train("red")
    assert place.queue.cancel(job.id).state == "cancelled"
    with pytest.raises(InputError, match="has ended already"):
        place.queue.cancel(job.id)
    assert place.queue.retry(job.id).state == "queued"
    with pytest.raises(InputError, match="only jobs that failed"):
        place.queue.retry(job.id)


def test_what_cannot_be_kept_leaves_no_job_and_no_file(place: Place) -> None:
    def build(store: Store) -> None:
        place.train_spec(store, "red")
        raise InputError("no", "yes")

    with pytest.raises(InputError):
        place.queue.submit(build)  # type: ignore[arg-type]
    assert place.queue.jobs() == []
    assert job_folders(place) == []


def test_a_queued_job_does_what_was_asked_whatever_happens_to_the_photographs(place: Place) -> None:
    from spectral_diffusion.diffusion.dataset import load_concept

    write_concept(place.root / "concepts" / "red", "dog", 5)
    (place.root / "concepts" / "red" / "0.txt").write_text("a <red> \U0001f600 'quoted' dog")
    before = load_concept(place.root / "concepts" / "red")
    job = place.train("red")
    for path in (place.root / "concepts" / "red").iterdir():
        path.unlink()
    assert isinstance(job.spec, TrainSpec)
    with kept_concepts(place.queue.store, job.spec.concepts) as (kept,):
        assert kept.digest() == before.digest()
        assert (kept.name, kept.token, kept.class_word, kept.words) == ("red", before.token, "dog", before.words)


def test_jobs_are_kept_as_json_and_a_planted_pickle_is_not_run(place: Place, tmp_path: Path) -> None:
    job = place.train("red")
    connection = sqlite3.connect(tmp_path / "jobs.sqlite")
    rows = connection.execute(
        "select i.inputs, s.serialization from workflow_input i join workflow_status s using (workflow_uuid)"
    ).fetchall()
    connection.close()
    ((inputs, serialization),) = rows
    assert json.loads(json.loads(inputs)["positionalArgs"][0])["kind"] == "train"
    assert serialization is None or "json" in serialization
    ran = tmp_path / "ran"
    pickle = f"cos\nsystem\n(S'touch {ran}'\ntR."
    with place.queue.database.engine.begin() as writing:
        writing.execute(text("update workflow_input set inputs = :pickle"), {"pickle": pickle})
    place.queue.close()
    with pytest.raises(Exception):  # noqa: B017, PT011 (any word but doing it)
        place.queue.job(job.id).spec.kind  # type: ignore[union-attr] # noqa: B018
    assert not ran.exists()


@pytest.mark.parametrize(
    "values",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"kind": "dance"}',
        '{"kind": "train", "concepts": [], "config": {}}',
        '{"kind": "train", "concepts": ["a"], "config": {}, "colour": 1}',
        '{"kind": "fuse", "fusing": {"adapters": [{"blob": "../../etc/passwd", "name": "x"}]}, "out": "x"}',
        '{"kind": "generate", "base": "toybox", "fusing": {}, "prompt": "", "negative_prompt": "", "seed": -1}',
        '{"kind": "demo", "config": {}, "seed": 1, "out": "/etc"}',
        '{"kind": "demo", "config": {}, "seed": 1, "out": "a/../../b"}',
        '{"kind": "demo", "config": {}, "seed": 1, "out": "C:\\\\x"}',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_what_is_no_job_is_refused(values: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(values)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "nonsense",
        "postgresql://u:secret@127.0.0.1:1/none",
        "sqlite:////proc/no/x",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:secret@127.0.0.1:notaport/x",
        "u:secret@h/x",
        "postgresql://u@127.0.0.1:1/x?password=secret",
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        JobQueue(Database.locate(Workspace(tmp_path), url), Store(str(tmp_path))).submit(lambda store: None)  # type: ignore[arg-type, return-value]
    assert "secret" not in str(caught.value)


def test_the_command_line_queues_lists_shows_cancels_and_retries(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(place.root, place.base)
    write_concept(place.root / "concepts" / "red", "dog", 1)
    options = ["--workspace", place.root]
    queued = call(
        capsys,
        "train",
        place.root / "concepts" / "red",
        "--config",
        recipe,
        "--queue",
        "--key",
        "k",
        *options,
        "--json",
    )
    job_id = queued.expect(0).json["job"]["id"]
    assert "no worker runs" in queued.stderr
    listed = call(capsys, "jobs", "list", *options, "--json").expect(0).json["jobs"]
    assert [job["id"] for job in listed] == [job_id]
    assert "train red" in call(capsys, "jobs", "list", *options).expect(0).stdout
    assert "train red" in call(capsys, "jobs", "show", job_id[:6], *options).expect(0).stdout
    assert call(capsys, "jobs", "cancel", job_id, *options).expect(0).stdout.split() == [job_id, "cancelled"]
    assert call(capsys, "jobs", "retry", job_id, *options, "--json").expect(0).json["jobs"][0]["state"] == "queued"
    assert "nothing yet" in call(capsys, "jobs", "logs", job_id, *options).expect(0).stdout
    for verb in ("show", "cancel", "retry", "logs"):
        refused = call(capsys, "jobs", verb, "nope", *options).expect(2)
        assert "not found" in refused.stderr and refused.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "red", "--key", "k"], "--key without --queue"),
        (["train", "red", "--database", "sqlite:///x"], "--database without --queue"),
        (["train", "CONCEPT", "--queue", "--resume"], "--resume with --queue"),
        (["train", "CONCEPT", "--queue", "--out", "/tmp/elsewhere"], "outside the workspace"),
        (["generate", "-p", "a dog", "--queue", "--out", "../elsewhere"], "outside the workspace"),
        (["generate", "--queue"], "no prompt"),
        (["fuse", "nowhere.safetensors", "--out", "x.safetensors", "--queue"], "nowhere.safetensors"),
        (["score", "nowhere.png", "--queue"], "nowhere.png"),
        (["demo", "--queue", "--out", "/etc/demo"], "outside the workspace"),
    ],
)
def test_what_cannot_be_queued_is_told_at_once(
    arguments: list[str], words: str, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    concept = write_concept(place.root / "concepts" / "red", "dog", 1)
    recipe = write_recipe(place.root, place.base)
    given = [str(concept) if argument == "CONCEPT" else argument for argument in arguments]
    config = ["--config", recipe] if given[0] in ("train", "generate") else []
    refused = call(capsys, *given, *config, "--workspace", place.root).expect(2)
    assert words in refused.stderr
    assert place.queue.jobs() == []
    assert job_folders(place) == []
