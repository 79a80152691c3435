"""What lies in a workspace may have been put there by somebody else: nothing of it holds a verb up or breaks it."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import call
from tests.hostile.adapter_files import sound

CLAIM = '{"format": 1, "claims": [{"concept": "a", "base": "b", "fingerprints": {}, "slot": %s, "token": %s}]}'
LEDGERS = {
    "nothing": b"",
    "no JSON": b"{not json",
    "binary": b"\x80\x04]q.",
    "a list": b"[]",
    "100 000 lists": b"[" * 100_000,
    "a slot of nothing": (CLAIM % ('{"start": 0, "width": 0}', "null")).encode(),
    "a slot beyond all": (CLAIM % ('{"start": 1e999, "width": 1}', "null")).encode(),
    "a token with escape codes": (CLAIM % ('{"start": 0, "width": 1}', '"\\u001b[2J"')).encode(),
}
CHECKPOINTS = {
    "nothing": b"",
    "a pickle": b"\x80\x04]q.",
    "an adapter": sound(),
    "a header that is too long": struct.pack("<Q", 2**62) + b"{}",
    "no header of ours": struct.pack("<Q", 2) + b"{}",
    **{
        f"a header {name}": struct.pack("<Q", len(text)) + text
        for name, text in (
            (name, json.dumps({"__metadata__": {"spectral_diffusion_checkpoint": own}}).encode())
            for name, own in {"of lists": "[" * 100_000, "of a number": "5", "of nothing": "{}"}.items()
        )
    },
}


def _put(path: Path, content: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [*LEDGERS, "a pipe"])
def test_a_ledger(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _put(tmp_path / "ledger.json", LEDGERS.get(name))
    answer = call(capsys, "slots", "--workspace", tmp_path).expect(2)
    assert "is not a ledger" in answer.stderr and "slots rebuild" in answer.stderr


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [*CHECKPOINTS, "a pipe"])
def test_a_checkpoint(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _put(tmp_path / "adapters" / "checkpoints" / "x.safetensors", CHECKPOINTS.get(name))
    answer = call(capsys, "slots", "rebuild", "--workspace", tmp_path).expect(0)
    assert "left out x.safetensors" in answer.stderr


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir, Path.touch])
def test_an_adapter_in_the_folder(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put(tmp_path / "adapters" / "octo.safetensors", sound())
    make(tmp_path / "adapters" / "x.safetensors")
    answer = call(capsys, "slots", "rebuild", "--workspace", tmp_path).expect(0)
    assert "left out x.safetensors" in answer.stderr and "octo" in answer.stdout
