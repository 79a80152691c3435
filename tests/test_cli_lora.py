"""The whole way of a LoRA adapter on the command line, beside spectral ones: trained, fused, drawn with, inspected."""

from pathlib import Path
from typing import NamedTuple

import pytest

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.ledger import Ledger
from tests.command_line import call, write_concept, write_recipe
from tests.miniature_scorer import make_miniature_scorer


class Trained(NamedTuple):
    """A workspace with a LoRA and a spectral adapter on the base in miniature."""

    root: Path
    base: Path
    recipe: Path
    lora: Path
    spectral: Path


@pytest.fixture(scope="module")
def trained(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from spectral_diffusion.cli import main

    root = tmp_path_factory.mktemp("workspace")
    recipe = write_recipe(root, miniature)
    for name, word, method in (("red", "dog", "lora"), ("blue", "cat", "spectral")):
        folder = write_concept(root / "concepts" / name, word, len(name))
        arguments = ["train", folder, "--config", recipe, "--workspace", root, "--method", method]
        assert main([str(argument) for argument in arguments]) == 0
    adapters = root / "adapters"
    return Trained(root, miniature, recipe, adapters / "red.safetensors", adapters / "blue.safetensors")


def test_its_file_and_its_answer_name_no_slot(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Adapter.load(trained.lora)
    assert (adapter.method, adapter.slot, adapter.rank) == ("lora", None, 4)
    assert adapter.training["method"] == "lora" and adapter.training["steps"] == 3
    assert [claim.concept for claim in Ledger(trained.root / "ledger.json").holders()] == ["blue"]
    options = ["--config", trained.recipe, "--workspace", tmp_path, "--method", "lora"]
    (told,) = call(capsys, "train", trained.root / "concepts" / "red", *options, "--json").expect(0).json["adapters"]
    assert told["slot"] is None and told["method"] == "lora"
    assert Path(told["file"]).read_bytes() == trained.lora.read_bytes()
    table = call(capsys, "train", trained.root / "concepts" / "red", *options).expect(0).stdout
    assert "no columns (lora)" in table


def test_a_config_may_ask_for_it(
    trained: Trained, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, miniature, method="lora")
    call(capsys, "train", trained.root / "concepts" / "red", "--config", recipe, "--workspace", tmp_path).expect(0)
    assert (tmp_path / "adapters" / "red.safetensors").read_bytes() == trained.lora.read_bytes()


@pytest.mark.parametrize("queued", [[], ["--queue"]], ids=["now", "queued"])
def test_a_slot_for_it_is_refused_in_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], queued: list[str]
) -> None:
    answer = call(
        capsys, "train", trained.root / "concepts" / "red", "--config", trained.recipe, "--workspace", tmp_path,
        "--method", "lora", "--slot", 0, *queued,
    ).expect(2)  # fmt: skip
    assert answer.stderr.startswith("error: slot 0 was asked for, and the method lora holds no columns; leave the slot")
    assert not (tmp_path / "adapters").exists() and not (tmp_path / "ledger.json").exists()


def test_singular_values_for_it_are_refused_in_one_line(
    trained: Trained, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, miniature, train_singular_values=True)
    concept = trained.root / "concepts" / "red"
    answer = call(capsys, "train", concept, "--config", recipe, "--workspace", tmp_path, "--method", "lora").expect(2)
    assert "train_singular_values = True: the method lora holds no singular values" in answer.stderr


def test_it_is_fused_with_a_spectral_one_and_with_another_and_looked_into(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rename = tmp_path / "all.safetensors", ["--rename", "<red>=<again>"]
    fused = call(
        capsys, "fuse", f"{trained.lora}:0.5", trained.spectral, trained.lora, *rename, "--out", out, "--json"
    ).expect(0)
    assert [part["slot"] for part in fused.json["parts"]] == [None, {"start": 0, "width": 4}, None]
    assert [part.strength for part in load_fused(out).parts] == [0.5, 1.0, 1.0]
    told = call(capsys, "inspect", out, "--json").expect(0).json
    assert [adapter["slot"] for adapter in told["adapters"]] == [None, {"start": 0, "width": 4}, None]
    assert told["adapters"][0]["energy"][-1]["relative_change"] is None
    assert told["adapters"][0]["energy"][-1]["change_norm"] > 0
    assert told["overlap"] == [[0.0, 0.0, 0.0], [0.0, pytest.approx(1), 0.0], [0.0, 0.0, 0.0]]
    shown = call(capsys, "inspect", out, "--base", trained.base).expect(0).stdout
    assert "lora, rank 4, no columns (lora)" in shown and "-: holds no columns" in shown
    refused = call(capsys, "fuse", trained.lora, "--factor-scale", 0.5, "--out", tmp_path / "no.safetensors").expect(2)
    assert "Lora has none; use strength" in refused.stderr and not (tmp_path / "no.safetensors").exists()


def test_pictures_are_drawn_with_it_again_and_scored(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = ["--base", trained.base, "--config", trained.recipe, "--prompt", "a <red> and a <blue>", "--seed", 1]
    adapters = ["--adapter", f"{trained.lora}:0.7", "--adapter", trained.spectral]
    answer = call(capsys, "generate", *adapters, *drawing, "--out", tmp_path, "--json").expect(0)
    (picture,) = answer.json["images"]
    first = Path(picture["file"])
    again = call(
        capsys, "generate", "--from", first, "--base", trained.base,
        "--adapter", trained.lora, "--adapter", trained.spectral, "--out", tmp_path / "again",
    )  # fmt: skip
    again.expect(0)
    assert [path.read_bytes() for path in (tmp_path / "again").glob("*.png")] == [first.read_bytes()]
    scorer = make_miniature_scorer(tmp_path / "scorer")
    scored = call(capsys, "score", first, "--prompt", "a dog", "--scorer", scorer, "--json").expect(0)
    assert scored.json


def test_the_ledger_made_again_knows_nothing_of_it(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    for path in (trained.lora, trained.spectral):
        (adapters / path.name).write_bytes(path.read_bytes())
    call(capsys, "fuse", trained.lora, trained.spectral, "--out", adapters / "both.safetensors").expect(0)
    answer = call(capsys, "slots", "rebuild", "--workspace", tmp_path, "--json").expect(0)
    assert [claim["concept"] for claim in answer.json["claims"]] == ["blue"]
    assert "red" not in answer.stderr
