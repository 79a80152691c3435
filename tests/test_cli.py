"""The command line does what its help says: each verb, its answer for machines, its exit code."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from spectral_diffusion import __version__
from spectral_diffusion.adapters import Adapter
from spectral_diffusion.cli import VERBS
from spectral_diffusion.cli.progress import TrainingBar
from spectral_diffusion.diffusion.trainer import StepReport
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.images import read_png_text
from tests.command_line import call, call_really, write_concept, write_recipe
from tests.miniature_scorer import make_miniature_scorer


class Trained(NamedTuple):
    """A workspace with two adapters on the base in miniature."""

    root: Path
    base: Path
    recipe: Path
    red: Path
    blue: Path


@pytest.fixture(scope="module")
def trained(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from spectral_diffusion.cli import main

    root = tmp_path_factory.mktemp("workspace")
    recipe = write_recipe(root, miniature)
    folders = [write_concept(root / "concepts" / "red", "dog", 1), write_concept(root / "concepts" / "blue", "cat", 2)]
    arguments = ["train", *folders, "--config", recipe, "--workspace", root]
    assert main([str(argument) for argument in arguments]) == 0
    adapters = root / "adapters"
    return Trained(root, miniature, recipe, adapters / "red.safetensors", adapters / "blue.safetensors")


def test_help_answers_at_once_and_without_torch(tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = call_really("--help", cwd=tmp_path).expect(0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # The processor's time: what the clock says besides belongs to whatever else the machine does.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert all(verb in answer.stdout for verb in VERBS)
    assert min(seconds) < 0.5
    code = "import sys; from spectral_diffusion.cli import main; main(['--help']); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.endswith("False\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_all_its_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, verb, "--help").expect(0).stdout
    # A worker and a studio answer nobody: they work until they are ended.
    assert ("--json" in shown or verb in ("worker", "ui")) and "--debug" in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("--") and len(line.split()) == 1]


def test_version_and_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert __version__ in call(capsys, "--version").expect(0).stdout
    assert "Commands:" in call(capsys).expect(2).stderr


def test_train_writes_one_adapter_a_concept_in_slots_that_do_not_meet(trained: Trained) -> None:
    red, blue = Adapter.load(trained.red), Adapter.load(trained.blue)
    assert (red.slot.start, blue.slot.start) == (0, 4)
    assert list(red.tokens) == ["<red>"] and red.tokens["<red>"].class_word == "dog"
    assert not (trained.root / "adapters" / "checkpoints" / "red.safetensors").exists()


def test_train_answers_in_json_alone_on_stdout_and_progress_on_stderr(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(
        capsys, "train", trained.root / "concepts" / "red", "--config", trained.recipe, "--workspace", tmp_path,
        "--steps", 2, "--rank", 2, "--slot", 3, "--method", "rotation", "--seed", 5, "--json",
    ).expect(0)  # fmt: skip
    (told,) = answer.json["adapters"]
    assert told["slot"] == {"start": 6, "width": 2} and told["method"] == "rotation"
    adapter = Adapter.load(Path(told["file"]))
    assert adapter.training["steps"] == 2 and adapter.training["seed"] == 5
    assert "loss" in answer.stderr and "steps/s" in answer.stderr and "left" in answer.stderr


def test_a_concept_is_found_by_name_in_the_workspace(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_concept(tmp_path / "concepts" / "mine", "dog", 3)
    call(capsys, "train", "mine", "--config", trained.recipe, "--workspace", tmp_path).expect(0)
    assert (tmp_path / "adapters" / "mine.safetensors").is_file()


def test_fuse_keeps_its_parts_with_their_strengths_and_fuses_again(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.safetensors"
    answer = call(capsys, "fuse", f"{trained.red}:0.5", trained.blue, "--out", out, "--json").expect(0)
    assert [part["strength"] for part in answer.json["parts"]] == [0.5, 1.0]
    half = tmp_path / "half.safetensors"
    call(capsys, "fuse", f"{out}:0.5", "--out", half).expect(0)
    assert [part.strength for part in load_fused(half).parts] == [0.25, 0.5]


def test_fuse_never_writes_over_what_it_fuses(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(Path(trained.red).read_bytes())
    refused = call(capsys, "fuse", f"{own}:0.5", trained.blue, "--out", own).expect(2)
    assert "one of the adapters" in refused.stderr
    assert own.read_bytes() == Path(trained.red).read_bytes()


def test_generate_repeats_a_picture_exactly_from_its_own_png(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--base", trained.base, "--config", trained.recipe, "--workspace", trained.root]
    first = call(
        capsys, "generate", "-a", f"{trained.red}:0.8", "-a", trained.blue, "--prompt", "a <red> and a <blue>",
        "--negative", "snow", "--seed", 7, "--size", "96x64", "--guidance", 3, "--steps", 3, *common, "--json",
    ).expect(0)  # fmt: skip
    (told,) = first.json["images"]
    assert (told["width_px"], told["height_px"], told["seed"], told["steps"]) == (96, 64, 7, 3)
    assert "parameters" in read_png_text(Path(told["file"]))
    again = call(capsys, "generate", "--from", told["file"], "--base", trained.base, "--workspace", trained.root)
    repeated = Path(again.expect(0).stdout.strip())
    assert repeated != Path(told["file"])
    assert Image.open(repeated).tobytes() == Image.open(told["file"]).tobytes()
    other = call(
        capsys, "generate", "--from", told["file"], "--seed", 8, "--base", trained.base, "--workspace", trained.root
    ).expect(0)
    assert Image.open(other.stdout.strip()).tobytes() != Image.open(told["file"]).tobytes()


def test_generate_draws_one_seed_a_picture_and_names_no_path_in_them(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(
        capsys, "generate", "-a", trained.red, "--prompt", "a <red>", "--count", 2, "--seed", 3, "--out", tmp_path,
        "--config", trained.recipe, "--json",
    ).expect(0)  # fmt: skip
    assert [image["seed"] for image in answer.json["images"]] == [3, 4]
    for image in answer.json["images"]:
        assert str(tmp_path) not in json.dumps(read_png_text(Path(image["file"])))


def test_two_calls_at_once_never_write_to_one_name(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spectral_diffusion.diffusion import pipeline

    save = pipeline.save_generated

    def late(picture: pipeline.GeneratedImage, path: Path) -> None:
        # Another process looks for a free name just before this one writes.
        names.append(path)
        if len(names) == 1:
            other = call(capsys, *drawing).expect(0)
            others.append(Path(other.stdout.strip()))
        save(picture, path)

    names: list[Path] = []
    others: list[Path] = []
    monkeypatch.setattr(pipeline, "save_generated", late)
    drawing = ["generate", "-p", "a dog", "--config", trained.recipe, "--seed", 4, "--out", tmp_path / "out"]
    first = call(capsys, *drawing).expect(0)
    assert others[0] != Path(first.stdout.strip())
    assert sorted((tmp_path / "out").iterdir()) == sorted([others[0], Path(first.stdout.strip())])


def test_a_picture_that_cannot_be_saved_leaves_no_name_behind(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spectral_diffusion.diffusion.pipeline.save_generated", stop)
    call(capsys, "generate", "-p", "a dog", "--config", trained.recipe, "--out", tmp_path / "out").expect(130)
    assert not list((tmp_path / "out").glob("*"))


def test_a_base_without_a_recipe_is_drawn_with_at_its_own_size_but_not_trained_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--base", trained.base, "--workspace", tmp_path]
    drawn = call(capsys, "generate", "-p", "a dog", *here, "--steps", 2, "--json").expect(0)
    (told,) = drawn.json["images"]
    assert (told["width_px"], told["height_px"], told["steps"], told["guidance_scale"]) == (64, 64, 2, 7.5)
    refused = call(capsys, "train", trained.root / "concepts" / "red", *here).expect(2)
    assert "no recipe" in refused.stderr and "--config" in refused.stderr and refused.stderr.count("\n") == 1


def test_tokens_that_clash_are_renamed(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_concept(tmp_path / "concepts" / "twin", "dog", 4)
    (tmp_path / "concepts" / "twin" / "concept.toml").write_text('token = "<red>"\nclass_word = "dog"\n')
    call(
        capsys, "train", "twin", "--config", trained.recipe, "--workspace", tmp_path, "--slot", 2
    ).expect(0)  # fmt: skip
    twin, out = tmp_path / "adapters" / "twin.safetensors", tmp_path / "both.safetensors"
    refused = call(capsys, "fuse", trained.red, twin, "--out", out).expect(2)
    assert "--rename" in refused.stderr and not out.exists()
    call(capsys, "fuse", trained.red, twin, "--out", out, "--rename", "red=crimson").expect(0)
    assert list(load_fused(out).tokens) == ["<red>", "<crimson>"]


def test_score_compares_with_photographs_and_with_the_prompt_in_the_picture(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = make_miniature_scorer(tmp_path / "clip")
    drawn = call(
        capsys, "generate", "-a", trained.red, "-p", "a <red>", "--count", 2, "--seed", 1, "--out", tmp_path,
        "--config", trained.recipe,
    ).expect(0)  # fmt: skip
    pictures, red = drawn.stdout.split(), trained.root / "concepts" / "red"
    alone = call(capsys, "score", *pictures, "--reference", red, "--scorer", scorer, "--json").expect(0).json
    assert alone["prompt"] == "a <red>" and alone["text_alignment"]["count"] == 2
    low, mean, high = (alone["image_alignment"][key] for key in ("low", "mean", "high"))
    assert -1 <= low <= mean <= high <= 1
    told = call(capsys, "score", *pictures, "--scorer", scorer, "--json").expect(0)
    in_words = call(capsys, "score", *pictures, "-p", "a dog", "--scorer", scorer, "--json").expect(0)
    assert told.json["text_alignment"] == in_words.json["text_alignment"] and "class word" not in told.stderr
    nobody = call(capsys, "score", *pictures, "-p", "a <red> and <nobody>", "--scorer", scorer).expect(0)
    assert "no class word is known for <nobody>," in nobody.stderr
    photographs = sorted(red.glob("*.png"))
    itself = call(capsys, "score", photographs[0], "-r", red, "--scorer", scorer, "--json").expect(0).json
    assert itself["image_alignment"]["mean"] > 0.5 and itself["text_alignment"] is None
    both = call(
        capsys, "score", *pictures, "-r", red, "-r", trained.root / "concepts" / "blue", "--scorer", scorer, "--json"
    ).expect(0)
    assert both.json["leaks"]["concepts"] == ["red", "blue"]
    assert "leak matrix" in call(
        capsys, "score", *pictures, "-r", red, "-r", trained.root / "concepts" / "blue", "--scorer", scorer
    ).expect(0).stdout  # fmt: skip


def test_a_folder_called_toybox_is_a_base_like_any_other(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namesake = shutil.copytree(trained.base, tmp_path / "toybox")
    recipe = write_recipe(tmp_path, namesake)
    trained_there = call(
        capsys, "train", trained.root / "concepts" / "red", "--config", recipe, "--workspace", tmp_path
    ).expect(0)  # fmt: skip
    assert "draws toys" not in trained_there.stderr
    drawn = call(capsys, "generate", "-p", "a dog", "--config", recipe, "--workspace", tmp_path).expect(0)
    assert "ViT-B-32:openai" in call(capsys, "score", drawn.stdout.strip()).expect(2).stderr


def test_inspect_tells_what_an_adapter_is_and_whether_several_meet(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(capsys, "inspect", trained.red, trained.blue, "--base", trained.base, "--json").expect(0).json
    red = told["adapters"][0]
    assert red["name"] == "red" and red["tokens"]["<red>"]["class_word"] == "dog"
    everything = red["energy"][-1]
    assert everything["group"] == "all" and everything["weights"] == red["modules"]
    assert 0 < everything["share"] < 1 and everything["change_norm"] > 0
    assert told["overlap"][0][1] < 0.01 < 0.99 < told["overlap"][0][0]
    shown = call(capsys, "inspect", trained.red).expect(0).stdout
    assert "columns 0-3" in shown and "unet cross-attention" in shown


def test_slots_shows_releases_and_is_made_again_from_the_adapters(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "adapters").mkdir()
    for path in (trained.red, trained.blue):
        (tmp_path / "adapters" / path.name).write_bytes(path.read_bytes())
    workspace = ["--workspace", tmp_path]
    assert "no slot is held" in call(capsys, "slots", *workspace).expect(0).stdout
    rebuilt = call(capsys, "slots", *workspace, "--json", "rebuild").expect(0).json["claims"]
    assert {(claim["concept"], claim["start"]) for claim in rebuilt} == {("red", 0), ("blue", 4)}
    released = call(capsys, "slots", *workspace, "release", "red", "--json").expect(0).json["released"]
    assert [claim["concept"] for claim in released] == ["red"]
    lines = call(capsys, "slots", *workspace).expect(0).stdout.splitlines()
    assert lines[1].split()[1:] == ["0-3", "free"] and lines[2].split()[1:] == ["4-7", "blue"]
    assert "holds no slot" in call(capsys, "slots", *workspace, "release", "red").expect(2).stderr


def test_a_fault_of_ours_is_told_apart_from_wrong_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_diffusion.cli.doctor._software", lambda: 1 / 0)
    answer = call(capsys, "doctor").expect(1)
    assert answer.stderr.count("\n") == 1 and "fault of ours" in answer.stderr and "--debug" in answer.stderr
    assert "Traceback" in call(capsys, "doctor", "--debug").expect(1).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_a_training_gets_130_and_is_told_where_the_checkpoint_lies(
    trained: Trained, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "spectral_diffusion", "train", str(trained.root / "concepts" / "red"),
            "--config", str(trained.recipe), "--workspace", str(tmp_path), "--steps", "100000",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    seen = b""
    assert process.stderr is not None
    while b"steps/s" not in seen:
        piece = os.read(process.stderr.fileno(), 65536)
        assert piece, f"training ended early: {seen.decode()}"
        seen += piece
    process.send_signal(number)
    stdout, rest = process.communicate(timeout=60)
    checkpoint = tmp_path / "adapters" / "checkpoints" / "red.safetensors"
    last = rest.decode().splitlines()[-1]
    assert process.returncode == 130 and stdout == b""
    assert str(checkpoint) in last and "--resume" in last
    assert checkpoint.is_file() and not (tmp_path / "adapters" / "red.safetensors").exists()
    assert b"Traceback" not in rest


def test_ctrl_c_names_the_concepts_that_are_finished(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingBar.step

    def press(bar: TrainingBar, report: StepReport) -> None:
        step(bar, report)
        if (report.concept, report.step) == ("blue", 2):
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingBar, "step", press)
    train = [
        "train", trained.root / "concepts" / "red", trained.root / "concepts" / "blue",
        "--config", trained.recipe, "--workspace", tmp_path,
    ]  # fmt: skip
    last = call(capsys, *train).expect(130).stderr.splitlines()[-1]
    assert last == (
        "interrupted; finished: red; the checkpoint lies at "
        f"{tmp_path / 'adapters' / 'checkpoints' / 'blue.safetensors'}: go on with --resume"
    )
