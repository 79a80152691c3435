"""What can be done about an error is told on the page in words of the page: who looks at it has no terminal."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

import spectral_diffusion
from spectral_diffusion.diffusion.checkpoints import damaged
from spectral_diffusion.diffusion.settings import GenerationSettings
from spectral_diffusion.errors import InputError, SpectralDiffusionError
from spectral_diffusion.fusion import fuse, fuse_files
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.registry import WorkerRow
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.studio import create, machine, train
from spectral_diffusion.studio.events import in_page_words, on_the_page
from spectral_diffusion.studio.parts.progress_line import in_words
from spectral_diffusion.studio.watching import look_again
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.studio.failing import fail
from tests.studio.training import known_desk, on

ROOT = Path(spectral_diffusion.__file__).parent
OF_A_TERMINAL = re.compile(
    r"(?<![\w(-])--[a-z]|spectral-diffusion [a-z]|\bpip install|\bhf download|\bHF_[A-Z]|\$[A-Z]|`"
)
# What only a terminal shows: its verbs, its scripts, a page without forms. The studio speaks of itself only.
ELSEWHERE = {"cli", "toybox", "studio", "samples.py", "report.py"}
# What went wrong with an option itself, before there is a page; and a mark for a library.
BEFORE_THERE_IS_A_PAGE = {
    "--store memory:// is seen by one process only",
    "--store X cannot be used (X)",
    "--database is no address of a database",
    "--database names a X database",
    "--database names an SQLite database without a file",
    "the same concept is named twice with --reference",
    "HF_HUB_DISABLE_TELEMETRY",
}


def texts_of(path: Path) -> Iterator[str]:
    """All texts of a file of ours but what explains it, with X for what is put into them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    passed |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield "".join(map(str, parts))


def told() -> list[tuple[str, str]]:
    """Each text that names something of a terminal, with the file it is from."""
    files = (path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ELSEWHERE)
    return [
        (path.relative_to(ROOT).as_posix(), text)
        for path in files
        for text in texts_of(path)
        if OF_A_TERMINAL.search(text)
    ]


def test_nothing_that_a_page_may_tell_names_an_option_or_a_command():
    found = told()
    assert len(found) > 30 and {text for _, text in found} > BEFORE_THERE_IS_A_PAGE, "the texts are not found any more"
    left = [(path, text) for path, text in found if OF_A_TERMINAL.search(on_the_page(text))]
    assert [(path, text) for path, text in left if text not in BEFORE_THERE_IS_A_PAGE] == []


def test_no_screen_names_a_command():
    screens = [path for path in (ROOT / "studio").rglob("*.py") if "guard" not in path.parts]
    command = re.compile(r"spectral-diffusion [a-z]|\bpip install")
    named = {path.name for path in screens if any(command.search(text) for text in texts_of(path))}
    assert named == {"events.py"}, "which has the page's words for them"


def test_why_a_job_or_a_worker_waits_is_told_in_words_of_the_page(tmp_path: Path):
    why = "the disk is full; start one with `spectral-diffusion worker`"
    told = "the disk is full; ask whoever runs this studio to start one"
    with known_desk(tmp_path) as desk:
        job = desk.job(train.train(desk, ["octo"], "quick")["id"])
        assert in_words(replace(job, state="paused", note=why)).endswith(f"paused: {told}")
        desk.studio.queue.registry.prepare()
        worker = WorkerRow.here("cpu")
        desk.studio.queue.registry.enter(worker)
        desk.studio.queue.registry.beat(worker.id, None, why)
        assert [state.does for state in machine.workers(desk)] == [f"waits: {told}"]


def refused(function, *arguments, **options) -> SpectralDiffusionError:
    with pytest.raises(SpectralDiffusionError) as caught:
        function(*arguments, **options)
    return caught.value


def test_errors_as_they_come_are_told_in_words_of_the_page(tmp_path: Path):
    octo, spot = make_adapter("octo", 0), make_adapter("spot", 1)
    other = make_adapter("spot", 1, fingerprints=dict.fromkeys(FINGERPRINTS, "c" * 64), base_name="an other one")
    fuse([octo], factor_scale=0.5).save(tmp_path / "half")
    fuse([spot]).save(tmp_path / "whole")
    (tmp_path / "ledger.json").write_text("none")
    for error, said in [
        (refused(fuse, [octo, other]), "Choose adapters that were trained on one model"),
        (refused(other.check_base, "toybox", FINGERPRINTS), "Choose adapters that were trained on the model that"),
        (refused(fuse_files, [(tmp_path / "half", 1.0), (tmp_path / "whole", 1.0)]), "Choose one of them, or the"),
        (refused(Ledger(tmp_path / "ledger.json").holders), "Ask whoever runs this studio"),
        (refused(Database(f"sqlite:///{tmp_path}").prepare), "Ask whoever runs this studio"),
        (damaged(tmp_path / "octo", ValueError("cut off")), "Train it anew"),
    ]:
        text = in_page_words(error)
        assert f". {said}" in text and not OF_A_TERMINAL.search(text), text


def test_what_cannot_be_fused_is_told_in_create_in_words_of_the_page(tmp_path: Path):
    other = make_adapter("spot", 1, fingerprints=dict.fromkeys(FINGERPRINTS, "c" * 64), base_name="an other one")
    with known_desk(tmp_path) as desk:
        for adapter in (make_adapter("octo", 0), other):
            adapter.save(desk.workspace.adapters / f"{adapter.name}.safetensors")
        said, _ = create._after_ticking(desk, on("octo.safetensors", "spot.safetensors"))
    assert "differs. Choose adapters that were trained on one model." in said
    assert not OF_A_TERMINAL.search(said)


def test_a_failed_job_is_told_in_words_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toasts: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: toasts.append(text))
    with known_desk(tmp_path) as desk:
        queued = train.train(desk, ["octo"], "quick")["id"]
        fail(desk.studio.queue, desk.job(queued), "no scorer; install again, or name another with --scorer")
        look_again(desk, {"train"}, [])
    assert toasts == ["train octo: no scorer; ask whoever runs this studio to install it again"]


@pytest.mark.parametrize(
    ("base", "is_toybox"), [("toybox", True), ("someone/a model", False), ("/models/it's; mine", False)]
)
def test_a_picture_of_another_model_sends_nobody_to_a_terminal(base: str, is_toybox: bool):
    settings = GenerationSettings.model_construct(base=base, is_toybox=is_toybox)
    assert on_the_page(settings.base_remedy()) == "ask whoever runs this studio to run that model"


def test_what_a_job_failed_by_is_told_in_words_of_the_page_too():
    said = (
        "the loss of concept 'octo' is nan at step 7 (gradient norm nan); lower the learning rates and go on from "
        "/srv/jobs/abc/checkpoints/octo.safetensors with --resume"
    )
    assert on_the_page(said).endswith("(gradient norm nan); train it anew with a lower learning rate")
    assert on_the_page("x is gone before it was kept; try again: spectral-diffusion jobs retry abcdefgh").endswith(
        "kept; try it again"
    )


def test_what_strangers_call_things_is_told_as_it_is():
    error = InputError("there is no concept '--prompt `x`'", "choose one of: octo, spot")
    assert in_page_words(error) == "There is no concept '--prompt `x`'. Choose one of: octo, spot"
