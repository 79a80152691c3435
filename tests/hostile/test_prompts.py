"""Prompts, numbers and options beyond every bound, at the library and at the command line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.settings import SETTINGS_KEY, SHEET_KEY, GenerationSettings, SheetSettings
from spectral_diffusion.errors import InputError
from tests.command_line import call
from tests.hostile.case import check_refusal, tree
from tests.hostile.cases_prompts import COMMANDS, CONFIGS, RECORDS, SOUND, TEXTS, VALUES


def _id(value: object) -> str:
    return ascii(value)[:40]


def test_settings_as_they_should_be_are_read() -> None:
    assert GenerationSettings.checked(**SOUND).adapters[0].name == "octo"
    assert GenerationSettings.from_png_text({SETTINGS_KEY: json.dumps(SOUND)}).seed == 1
    assert GenerationSettings.checked(**{**SOUND, "prompt": "line\n\tline שלום 🐙"})


@pytest.mark.parametrize(("field", "value"), VALUES, ids=_id)
def test_a_setting_beyond_its_bounds(field: str, value: Any) -> None:
    with pytest.raises(InputError) as refusal:
        GenerationSettings.checked(**{**SOUND, field: value})
    check_refusal(refusal.value, (field,))
    with pytest.raises(InputError) as refusal:
        GenerationSettings.from_png_text({SETTINGS_KEY: json.dumps({**SOUND, field: value})})
    check_refusal(refusal.value, ())


@pytest.mark.parametrize(("field", "value"), RECORDS, ids=_id)
def test_a_concept_of_a_picture_beyond_its_bounds(field: str, value: Any) -> None:
    record = {**SOUND["adapters"][0], field: value}
    with pytest.raises(InputError) as refusal:
        GenerationSettings.from_png_text({SETTINGS_KEY: json.dumps({**SOUND, "adapters": [record]})})
    check_refusal(refusal.value, ("adapters.0",) if not isinstance(value, float) else ())


@pytest.mark.parametrize("name", TEXTS)
def test_what_lies_where_settings_should_be(name: str) -> None:
    for kind, key in ((GenerationSettings, SETTINGS_KEY), (SheetSettings, SHEET_KEY)):
        with pytest.raises(InputError) as refusal:
            kind.from_png_text({key: TEXTS[name]})
        check_refusal(refusal.value, ("settings",))


def test_a_sheet_beyond_its_bounds() -> None:
    told = {"over": ["seed"], "first": SOUND}
    assert SheetSettings.from_png_text({SHEET_KEY: json.dumps(told)}) is not None
    for wrong in (
        {"over": ["a\nb"]},
        {"over": ["x"] * 21},
        {"over": "seed"},
        {"first": {**SOUND, "seed": -1}},
        {"cells": 1},
    ):
        with pytest.raises(InputError) as refusal:
            SheetSettings.from_png_text({SHEET_KEY: json.dumps({**told, **wrong})})
        check_refusal(refusal.value, ())


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("arguments", "words"), COMMANDS, ids=_id)
def test_words_that_make_no_command(
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, *arguments).expect(2)
    lines = answer.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "; " in lines[0], answer.stderr
    assert lines[0].isprintable() and answer.stdout == ""
    for word in words:
        assert word in lines[0], lines[0][:300]
    # The lock of the ledger is empty and stays.
    assert {Path(path).name for path in tree(tmp_path)} <= {".ledger.json.lock"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_beyond_its_bounds(name: str, tmp_path: Path) -> None:
    content, word = CONFIGS[name]
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(InputError) as refusal:
        load_config(tmp_path / "recipe.toml")
    check_refusal(refusal.value, ("recipe.toml", word))


def test_a_recipe_that_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recipe.toml")
    for path in (tmp_path / "recipe.toml", Path("/dev/zero")):
        with pytest.raises(InputError, match="no ordinary file"):
            load_config(path)
