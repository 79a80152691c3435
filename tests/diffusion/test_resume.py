"""Laws of going on from any moment: the same call, repeated until it is done, ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion import training
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.trainer import (
    Resume,
    StepReport,
    TrainingInterrupted,
    TrainingWarning,
    train_concepts,
)
from spectral_diffusion.errors import DiskFullError, InputError, SlotError
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.workspace import STALE_SECONDS
from tests.diffusion.practice import make_concept, quick_config

_ROOT = Path(__file__).resolve().parent.parent.parent


class _Training:
    """One call of `train_concepts`, as often as a test likes."""

    def __init__(self, base: Base, folder: Path, names: tuple[str, ...] = ("octo",), **changes: Any) -> None:
        self.base, self.folder, self.out, self.names = base, folder, folder / "adapters", names
        self.config = quick_config(**{"checkpoint_every": 2, **changes})
        self.ledger = Ledger(folder / "ledger.json")
        self.steps: list[tuple[str, int]] = []

    def train(
        self, resume: Resume = "auto", on_step: Callable[[StepReport], None] | None = None, **options: Any
    ) -> list[Adapter]:
        self.steps.clear()

        def note(report: StepReport) -> None:
            self.steps.append((report.concept, report.step))
            if on_step is not None:
                on_step(report)

        concepts = [make_concept(name) for name in self.names]
        return train_concepts(
            self.config, self.base, concepts, self.ledger, note, out=self.out, resume=resume, **options
        )

    def interrupt(self, step: int, name: str = "octo", **options: Any) -> None:
        def press(report: StepReport) -> None:
            if (report.concept, report.step) == (name, step):
                raise KeyboardInterrupt

        with pytest.raises(TrainingInterrupted):
            self.train(on_step=press, **options)

    def checkpoint(self, name: str = "octo") -> Path:
        return self.out / "checkpoints" / f"{name}.safetensors"

    def content(self, name: str = "octo") -> bytes:
        return (self.out / f"{name}.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a training that nobody interrupts."""
    undisturbed = _Training(base, tmp_path_factory.mktemp("whole"))
    undisturbed.train(resume=False)
    return undisturbed.content()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_moment_it_is_killed_at_the_files_end_the_same(miniature: Path, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "killed"
    answer = subprocess.run(
        [sys.executable, "-m", "tests.diffusion.killing", str(miniature), str(folder), str(seed)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) >= 10

    def files(root: Path) -> dict[str, bytes]:
        found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}

    undisturbed = files(tmp_path / "undisturbed")
    assert files(folder) == undisturbed
    assert sorted(undisturbed) == [
        *(f"adapters/{name}.safetensors" for name in ("octo", "rex")),
        *(f"adapters/samples/{name}/step_000003_{number}.png" for name in ("octo", "rex") for number in (0, 1)),
        "ledger.json",
    ]


def test_automatic_resuming_begins_where_there_is_nothing_and_stops_where_all_is_done(
    base: Base, tmp_path: Path, whole: bytes
) -> None:
    training = _Training(base, tmp_path)
    for taken in ([1, 2, 3, 4], []):
        training.train()
        assert [step for _, step in training.steps] == taken
        assert training.content() == whole


def test_a_checkpoint_that_outlived_its_training_is_no_reason_to_train_again(
    base: Base, tmp_path: Path, whole: bytes
) -> None:
    for resume in (True, "auto"):
        training = _Training(base, tmp_path / str(resume))
        training.interrupt(3)
        left = training.checkpoint().read_bytes()
        training.train()
        training.checkpoint().write_bytes(left)
        training.train(resume)
        assert training.steps == []
        assert training.content() == whole
        assert not training.checkpoint().exists()


def test_a_training_begun_again_by_other_rates_goes_on_though_an_older_one_is_finished(
    base: Base, tmp_path: Path
) -> None:
    rates = {"learning_rates": {"unet": 1e-3, "text_encoder": 0.0, "embeddings": 0.0, "singular_values": 0.0}}
    _Training(base, tmp_path).train(resume=False)
    again = _Training(base, tmp_path, **rates)
    again.interrupt(2, resume=False)
    # With the rates of the finished one, which may be changed on the way.
    training = _Training(base, tmp_path)
    training.train(resume=True)
    assert [step for _, step in training.steps] == [3, 4]


@pytest.mark.parametrize("what", ["damaged", "cut off", "seed", "steps", "fewer steps", "photographs"])
def test_automatic_resuming_begins_anew_where_it_cannot_go_on(
    base: Base, tmp_path: Path, whole: bytes, what: str
) -> None:
    others = {"seed": {"seed": 9}, "steps": {"steps": 9}, "fewer steps": {"steps": 30}}
    before = _Training(base, tmp_path, **others.get(what, {}))
    before.interrupt(6 if what == "fewer steps" else 3)
    checkpoint = before.checkpoint()
    if what == "damaged":
        checkpoint.write_bytes(b"nonsense")
    if what == "cut off":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    concepts = [make_concept(colour="red" if what == "photographs" else "purple")]
    training = _Training(base, tmp_path)
    seen: list[int] = []
    with pytest.warns(TrainingWarning, match=r"the checkpoint .*octo.* is .*; octo begins anew"):
        train_concepts(
            training.config, base, concepts, training.ledger, lambda report: seen.append(report.step),
            out=training.out, resume="auto",
        )  # fmt: skip
    assert seen == [1, 2, 3, 4]
    assert (training.content() == whole) == (what != "photographs")


def test_a_damaged_adapter_is_trained_again_automatically_only(base: Base, tmp_path: Path, whole: bytes) -> None:
    training = _Training(base, tmp_path)
    training.train()
    (training.out / "octo.safetensors").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"octo\.safetensors"):
        training.train(resume=True)
    training.train()
    assert training.content() == whole


def test_a_lost_ledger_does_not_move_what_was_begun(base: Base, tmp_path: Path) -> None:
    for resume in (True, "auto"):
        training = _Training(base, tmp_path / str(resume), names=("octo", "rex"))
        training.interrupt(2, "rex", slot=3)
        training.ledger.path.unlink()
        # A new concept before them takes what they leave.
        training.names = ("mug", "rex", "octo")
        adapters = training.train(resume)
        assert [adapter.slot.start for adapter in adapters] == [0, 8, 6]
        assert training.steps[-2:] == [("rex", 3), ("rex", 4)]
        assert ("octo", 1) not in training.steps


def test_a_slot_that_somebody_took_meanwhile_is_told_or_left_to_them(base: Base, tmp_path: Path) -> None:
    training = _Training(base, tmp_path)
    training.interrupt(2)
    training.ledger.release("octo")
    training.ledger.claim(base.name, base.fingerprints, "thief", 2, 16)
    with pytest.raises(SlotError, match="held by thief"):
        training.train(resume=True)
    with pytest.warns(TrainingWarning, match="slot: .*begins anew"):
        (adapter,) = training.train()
    assert adapter.slot.start == 2


def test_what_killed_writers_left_is_swept_when_its_concept_is_trained_again(base: Base, tmp_path: Path) -> None:
    training = _Training(base, tmp_path)
    stale = [
        training.out / ".octo.safetensors.0123456789abcdef.safetensors",
        training.out / "checkpoints" / ".octo.safetensors.0123456789abcdef.safetensors",
        training.out / "samples" / "octo" / ".step_000002_0.png.0123456789abcdef.png",
        training.out / "..write-test.0123456789abcdef",
        tmp_path / ".ledger.json.0123456789abcdef.json",
    ]
    others = [training.out / ".rex.safetensors.0123456789abcdef.safetensors", training.out / ".octo.safetensors"]
    for path in [*stale, *others]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    young = training.out / ".octo.safetensors.fedcba9876543210.safetensors"
    for path in [*stale, *others]:
        os.utime(path, (path.stat().st_mtime - STALE_SECONDS - 60,) * 2)
    young.write_bytes(b"still being written")
    training.train()
    assert [path for path in stale if path.exists()] == []
    assert all(path.exists() for path in [*others, young])


def test_a_wish_to_stop_is_granted_after_a_step_with_a_checkpoint(base: Base, tmp_path: Path, whole: bytes) -> None:
    training = _Training(base, tmp_path, names=("octo", "rex"), checkpoint_every=0)
    with pytest.raises(TrainingInterrupted) as stopped:
        training.train(should_stop=lambda: len(training.steps) == 7)
    assert training.steps[-1] == ("rex", 3)
    assert stopped.value.finished == ("octo",)
    assert training.checkpoint("rex").exists()
    training.train()
    assert training.steps == [("rex", 4)]


def test_a_wish_to_stop_is_granted_between_the_pictures_of_the_preparation(base: Base, tmp_path: Path) -> None:
    training = _Training(
        base, tmp_path, cutmix_probability=0.5, companions_count=5, prior_weight=1.0, prior_count=3, seed=77
    )
    asked: list[int] = []

    def count() -> bool:
        asked.append(1)
        return False

    training.train(should_stop=count)
    # Before it; three photographs, five companions, before encoding them, three priors; four steps.
    assert len(asked) == 1 + 3 + 5 + 1 + 3 + 4
    again = _Training(base, tmp_path / "again", cutmix_probability=0.5, companions_count=6, seed=78)
    for patience in (1, 3, 7):
        asked.clear()
        with pytest.raises(TrainingInterrupted) as stopped:
            again.train(should_stop=lambda patience=patience: count() or len(asked) > patience)
        assert (again.steps, stopped.value.finished) == ([], ())
        assert again.ledger.holders() == []
    assert not list(again.out.rglob("*.safetensors"))


def _save_and(then: Callable[[], object]) -> Callable[[Adapter, Path], None]:
    save = Adapter.save

    def saving(adapter: Adapter, path: Path) -> None:
        then()
        save(adapter, path)

    return saving


def test_ctrl_c_while_the_adapter_is_written_waits_for_it(
    base: Base, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _Training(base, tmp_path, names=("octo", "rex"))
    with monkeypatch.context() as patched:
        patched.setattr(Adapter, "save", _save_and(lambda: os.kill(os.getpid(), signal.SIGINT)))
        with pytest.raises(TrainingInterrupted) as stopped:
            training.train()
    assert stopped.value.finished == ("octo",)
    assert training.content() == whole
    assert not training.checkpoint().exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError, SystemExit])
def test_whatever_keeps_the_adapter_from_being_written_no_step_is_lost(
    base: Base, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    training = _Training(base, tmp_path)

    def fail() -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Adapter, "save", _save_and(fail))
        with pytest.raises(error):
            training.train()
    assert training.checkpoint().exists()
    training.train()
    assert training.steps == []
    assert training.content() == whole


def test_a_full_disk_at_any_checkpoint_costs_no_more_than_the_way_from_the_last(
    base: Base, tmp_path: Path, whole: bytes
) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for full_at in (2, 4):
        training = _Training(base, tmp_path / str(full_at))

        def fill(report: StepReport, full_at: int = full_at) -> None:
            if report.step == full_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

        try:
            with pytest.raises(DiskFullError, match=r"cannot write .*octo\.safetensors: File too large; free some"):
                training.train(on_step=fill)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert training.checkpoint().exists() == (full_at > 2)
        training.train()
        assert [step for _, step in training.steps] == {2: [1, 2, 3, 4], 4: [3, 4]}[full_at]
        assert training.content() == whole


def test_a_disk_too_full_for_the_ledger_hides_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_ = _Training(base, tmp_path)

    def full(*_: object) -> None:
        monkeypatch.setattr(Ledger, "_write", full)
        raise DiskFullError("cannot write the checkpoint", "free some space")

    with monkeypatch.context() as patched:
        patched.setattr(training.Checkpoint, "save", full)
        with pytest.raises(DiskFullError, match="cannot write the checkpoint"):
            training_.train()
    monkeypatch.undo()
    training_.train()


def test_pictures_on_the_way_are_those_of_an_uninterrupted_training(base: Base, tmp_path: Path) -> None:
    drawn: list[float] = []

    def draw(adapter: Adapter) -> list[Image.Image]:
        value = sum(float(held["A"].abs().sum()) for held in adapter.modules.values())
        drawn.append(value)
        return [Image.new("L", (8, 8), round(value * 1e4) % 256), Image.new("L", (4, 4))]

    def pictures(training: _Training) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (training.out / "samples" / "octo").iterdir()}

    whole = _Training(base, tmp_path / "whole", sample_every=2, steps=7)
    whole.train(draw_samples=draw)
    names = [f"step_{step:06d}_{number}.png" for step in (2, 4, 6) for number in (0, 1)]
    assert sorted(pictures(whole)) == names
    for step in (1, 2, 3, 4, 6):
        drawn.clear()
        parts = _Training(base, tmp_path / str(step), sample_every=2, steps=7)
        parts.interrupt(step, draw_samples=draw)
        parts.train(draw_samples=draw)
        # What was missed because the step before it was the last of the attempt is drawn, and nothing twice.
        assert len(drawn) == 3
        assert pictures(parts) == pictures(whole)


def test_a_picture_that_cannot_be_drawn_costs_no_step(base: Base, tmp_path: Path, whole: bytes) -> None:
    training = _Training(base, tmp_path, sample_every=3, checkpoint_every=0)

    def fail(adapter: Adapter) -> list[Image.Image]:
        raise MemoryError

    with pytest.raises(MemoryError):
        training.train(draw_samples=fail)
    training.config = quick_config(checkpoint_every=2)
    training.train()
    assert [step for _, step in training.steps] == [4]
    assert training.content() == whole


def test_an_unknown_token_in_a_caption_is_told_before_anything_is_claimed(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    concepts = [make_concept("octo"), make_concept("rex", caption="<rex> beside <octo>")]
    with pytest.raises(InputError, match=r"the caption of 0\.png names <octo>, and the token of rex is <rex>"):
        train_concepts(quick_config(), base, concepts, ledger, out=tmp_path)
    assert ledger.holders() == []
    assert list(tmp_path.iterdir()) == []
