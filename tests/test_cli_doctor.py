"""The doctor finds what is missing or broken, names it, and says how to get it."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.command_line import call


def test_doctor_tells_what_is_there_and_how_to_get_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = call(capsys, "doctor", "--workspace", tmp_path, "--json").expect(0).json["findings"]
    by_name = {finding["name"]: finding for finding in findings}
    assert by_name["torch"]["detail"] == torch.__version__.partition("+")[0] or by_name["torch"]["ok"]
    assert all(finding["ok"] or finding["remedy"] for finding in findings)
    assert not by_name["scorer ViT-B-32:openai"]["ok"]
    assert "ViT-B-32" in call(capsys, "doctor").expect(0).stdout


_UNET = "unet/diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("model", "file", "said"),
    [
        ("base", "vae/diffusion_pytorch_model.safetensors", "damaged"),
        ("base", "text_encoder/model.safetensors", "missing"),
        ("base", f"{_UNET}-00002-of-00002.safetensors", "damaged"),
        ("base", f"{_UNET}-00001-of-00002.safetensors", "missing"),
        ("base", f"{_UNET}.safetensors.index.json", "damaged"),
        ("base", "unet/config.json", "damaged"),
        ("base", "tokenizer/merges.txt", "missing"),
        ("base", "model_index.json", "missing"),
        ("scorer", "clip/open_clip_model.safetensors", "damaged"),
        ("scorer", "clip/tokenizer.json", "missing"),
    ],
)
def test_doctor_names_the_file_of_the_embedded_models_that_is_missing_or_cut_off(
    model: str,
    file: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spectral_diffusion.cli import doctor
    from spectral_diffusion.diffusion import base, scorer

    weights = shutil.copytree(base.TOYBOX, tmp_path / "weights", copy_function=os.symlink)
    monkeypatch.setattr(base, "TOYBOX", weights)
    monkeypatch.setattr(scorer, "TOYBOX_SCORER", weights / "clip")
    monkeypatch.setattr(doctor, "_software", lambda: iter(()))

    def found() -> dict[str, dict[str, str]]:
        told = call(capsys, "doctor", "--workspace", tmp_path, "--json").expect(0).json["findings"]
        return {finding["name"]: finding for finding in told if finding["name"].endswith("toybox")}

    assert all(finding["ok"] for finding in found().values())
    content = (weights / file).read_bytes()
    (weights / file).unlink()
    if said == "damaged":
        (weights / file).write_bytes(content[: len(content) // 2])
    sick, other = found()[f"{model} toybox"], found()["scorer toybox" if model == "base" else "base toybox"]
    assert not sick["ok"] and file.removeprefix("clip/") in sick["detail"] and said in sick["detail"]
    assert "pip install" in sick["remedy"] and other["ok"]
