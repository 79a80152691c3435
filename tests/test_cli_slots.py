"""`slots` tells who holds what and how much is left, and makes the ledger again from what lies on disk."""

from pathlib import Path

import pytest

from spectral_diffusion.fusion import fuse
from spectral_diffusion.ledger import Ledger
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.command_line import Answer, call

# The imaginary base's narrowest weight has 12 columns: 6 slots of 2.
ELSEWHERE = {"unet": "c" * 64}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for number, name in enumerate(("octo", "shell")):
        make_adapter(name, number).save(tmp_path / "adapters" / f"{name}.safetensors")
    return tmp_path


def _claims(answer: Answer) -> dict[tuple[str, str], int]:
    claims = answer.expect(0).json["claims"]
    found = {(claim["concept"], claim["base"]): claim["start"] for claim in claims}
    assert len(found) == len(claims)
    return found


def test_the_slots_that_are_left_are_counted(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "slots", "rebuild", "--workspace", workspace).expect(0)
    shown = call(capsys, "slots", "--workspace", workspace).expect(0).stdout.splitlines()
    assert [line.split() for line in shown[1:4]] == [
        ["imaginary", "0-1", "octo"],
        ["imaginary", "2-3", "shell"],
        ["imaginary", "4-11", "free"],
    ]
    assert shown[-1] == "4 of 6 slots of 2 columns are free on imaginary"
    told = call(capsys, "slots", "--workspace", workspace, "--json").expect(0).json
    assert told["room"] == [{"base": "imaginary", "width": 2, "capacity": 6, "free": 4}]
    for number in range(2, 6):
        make_adapter(f"more{number}", number).save(workspace / "adapters" / f"more{number}.safetensors")
    full = call(capsys, "slots", "rebuild", "--workspace", workspace).expect(0).stdout.splitlines()
    assert full[-1] == "0 of 6 slots of 2 columns are free on imaginary"
    assert full[-2].split() == ["imaginary", "10-11", "more5"]


def test_where_the_end_of_a_base_is_unknown_nothing_is_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = '{"concept": "octo", "base": "old", "fingerprints": {"unet": "x"}, "start": 0, "width": 2}'
    (tmp_path / "ledger.json").write_text(f'{{"format": 1, "claims": [{claim}]}}')
    shown = call(capsys, "slots", "--workspace", tmp_path).expect(0).stdout.splitlines()
    assert shown[-1].split() == ["old", "2-", "free"]


@pytest.mark.parametrize("verb", ["release", "rebuild"])
def test_the_workspace_may_be_named_before_and_after_the_word(
    verb: str, workspace: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    words = [verb, "octo"] if verb == "release" else [verb]
    for arguments in (["--workspace", workspace, *words], [*words, "--workspace", workspace]):
        call(capsys, "slots", "rebuild", "--workspace", workspace).expect(0)
        call(capsys, "slots", *arguments).expect(0)
        left = {claim.concept for claim in Ledger(workspace / "ledger.json").holders()}
        assert left == ({"shell"} if verb == "release" else {"octo", "shell"})
    monkeypatch.setenv("SPECTRAL_DIFFUSION_HOME", str(workspace))
    assert "octo" in call(capsys, "slots", "rebuild").expect(0).stdout


def test_a_concept_is_released_on_one_base_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.claim("toybox", FINGERPRINTS, "octo", 4, 8)
    ledger.claim("sd15", ELSEWHERE, "octo", 4, 8)
    release = ["slots", "release", "octo", "--workspace", tmp_path]
    assert "holds no slot of sdxl" in call(capsys, *release, "--base", "sdxl").expect(2).stderr
    (released,) = call(capsys, *release, "--base", "sd15", "--json").expect(0).json["released"]
    assert released["base"] == "sd15"
    assert [claim.base for claim in ledger.holders()] == ["toybox"]


def test_what_was_trained_counts_more_than_what_was_fused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapters = workspace / "adapters"
    # A fusion made before both were trained again in other slots, and of one that is nowhere else.
    fuse([make_adapter("octo", 4), make_adapter("shell", 3), make_adapter("rover", 5)]).save(
        adapters / "all.safetensors"
    )
    make_adapter("octo", 2).save(adapters / "a-copy-of-octo.safetensors")
    make_adapter("octo", 2, base_name="sd15", fingerprints=ELSEWHERE).save(adapters / "sd15-octo.safetensors")
    answer = call(capsys, "slots", "rebuild", "--workspace", workspace, "--json")
    assert _claims(answer) == {
        ("octo", "imaginary"): 0,
        ("shell", "imaginary"): 2,
        ("rover", "imaginary"): 10,
        ("octo", "sd15"): 4,
    }
    tokens = {claim.concept: claim.token for claim in Ledger(workspace / "ledger.json").holders("imaginary")}
    # Fusing may have renamed a token, so what is only known from a fused file may have any.
    assert tokens == {"octo": "<octo>", "shell": "<shell>", "rover": None}
    assert "left out octo (columns 8-9) of all.safetensors" in answer.stderr
    assert "left out octo (columns 4-5) of a-copy-of-octo.safetensors" in answer.stderr


def test_a_rebuild_forgets_nobody_whose_file_is_elsewhere_unless_asked_to(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(workspace / "ledger.json")
    call(capsys, "slots", "rebuild", "--workspace", workspace).expect(0)
    ledger.claim("imaginary", FINGERPRINTS, "afar", 2, 6)
    # What a file says about its concept counts more than the ledger.
    make_adapter("octo", 4).save(workspace / "adapters" / "octo.safetensors")
    kept = call(capsys, "slots", "rebuild", "--workspace", workspace, "--json")
    assert _claims(kept) == {("octo", "imaginary"): 8, ("shell", "imaginary"): 2, ("afar", "imaginary"): 4}
    (line,) = kept.stderr.splitlines()
    assert line.startswith("note: kept afar (columns 4-5) of imaginary: its adapter is not in") and "--drop" in line
    dropped = call(capsys, "slots", "rebuild", "--drop-missing", "--workspace", workspace, "--json")
    assert _claims(dropped) == {("octo", "imaginary"): 8, ("shell", "imaginary"): 2}
    (line,) = dropped.stderr.splitlines()
    assert line.startswith("note: dropped afar (columns 4-5) of imaginary")
    # A ledger that cannot be read says nothing.
    ledger.path.write_text("lost")
    assert _claims(call(capsys, "slots", "rebuild", "--workspace", workspace, "--json")) == _claims(dropped)
