"""Laws of whose is what: nothing is anybody's until it was given to them, and memory is bounded."""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
from hypothesis import strategies as st

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.studio.guard import claims as claims_module
from spectral_diffusion.studio.guard import demands as demands_module
from spectral_diffusion.studio.guard import grants as grants_module
from spectral_diffusion.studio.guard.claims import Claims
from spectral_diffusion.studio.guard.demands import Demands
from spectral_diffusion.studio.guard.doors import Kind
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.guard.refusal import Refusal


@pytest.fixture
def grants(tmp_path: Path) -> Grants:
    return Grants(tmp_path / "cache")


def test_what_is_shown_to_one_is_not_shown_to_another(grants: Grants, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a picture")
    shown = grants.show("ada", tmp_path / "a.png")
    assert Path(shown).read_bytes() == b"a picture" and Path(shown).name == "a.png"
    assert Path(shown).is_relative_to(grants.folder)
    assert grants.allows("ada", shown)
    assert not grants.allows("ben", shown) and not grants.allows(None, shown)
    assert grants.show("ben", tmp_path / "a.png") == shown and grants.allows("ben", shown)
    assert grants.allows_content("ada", [{"path": shown}]) and not grants.allows_content(None, [{"path": shown}])


def test_what_the_page_brings_along_is_everybodys(grants: Grants) -> None:
    logo = f"{grants.folder}/hash/logo.png"
    grants.allow_all(logo)
    assert all(grants.allows(user, logo) for user in ("ada", "ben", None))


def test_only_files_of_the_folder_can_be_given(grants: Grants) -> None:
    for path in ("/etc/passwd", f"{grants.folder}/../x", str(grants.folder), f"{grants.folder}x/y"):
        grants.allow("ada", path)
        grants.allow_all(path)
        assert not grants.allows("ada", path) and not grants.allows("ada", os.path.abspath(path))


def test_what_is_no_file_is_not_shown(grants: Grants, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError):
            grants.show("ada", path)


def test_a_full_disk_is_told_as_such(grants: Grants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.png").write_bytes(b"a picture")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", full)
        with pytest.raises(DiskFullError, match=r"no space to show a\.png; free some space"):
            grants.show("ada", tmp_path / "a.png")
    assert Path(grants.show("ada", tmp_path / "a.png")).read_bytes() == b"a picture", "nothing half was kept"


def test_memory_is_bounded_for_each_user_alone(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_module, "FILES_A_USER", 10)
    grants.allow("ada", f"{grants.folder}/h/ada")
    for number in range(100):
        grants.allow("ben", f"{grants.folder}/h/{number}")
    assert grants.allows("ada", f"{grants.folder}/h/ada")
    assert sum(grants.allows("ben", f"{grants.folder}/h/{number}") for number in range(100)) == 10
    monkeypatch.setattr(claims_module, "CLAIMS_A_USER", 10)
    claims = Claims()
    assert claims.take("ada", "session", "adas")
    assert all(claims.take("ben", "session", str(number)) for number in range(100))
    assert not claims.take("ben", "session", "adas") and len(claims) == 11


def test_a_claim_is_of_who_came_first() -> None:
    claims = Claims()
    assert claims.take("ada", "session", "x") and claims.take("ada", "session", "x")
    assert not claims.take("ben", "session", "x") and not claims.take(None, "session", "x")
    assert claims.take("ben", "event", "x")
    assert claims.holds("ada", "session", "x") and not claims.holds("ben", "session", "x")
    assert not claims.holds("ada", "session", "unknown") and not claims.holds(None, "session", "unknown")
    assert claims.is_anothers("ben", "session", "x") and not claims.is_anothers("ben", "session", "unknown")


def test_ordinary_content_passes(grants: Grants) -> None:
    own = f"{grants.folder}/hash/é file (1) 100%.png"
    grants.allow("ada", own)
    for content in (
        [], {}, None, 1.5, True, "a cat", "/", "..", "", "file=", "a file=b", "100% /tmp %zz %", "x" * 10**6,
        [{"path": own, "url": f"http://h:1/gradio_api/file={quote(own)}", "meta": {"_type": "gradio.FileData"}}],
        [{"path": None}, {"path": ""}, {"url": None}, {"url": "data:image/png;base64,AAAA"}],
        "https://example.com is a fine place", "\0", {"a\0": "~"},
    ):  # fmt: skip
        assert grants.allows_content("ada", content), content


@pytest.mark.parametrize(
    "content",
    [["a"] * 2_000_000, [1] * 2_000_000, [[]] * 2_000_000, {str(key): 0 for key in range(200_000)}, [[["a"] * 49_999]]],
    ids=["texts", "numbers", "lists", "keys", "deep"],
)
def test_an_event_of_too_many_values_is_refused_in_words_before_they_are_looked_at(
    grants: Grants, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demands_module, "texts", pytest.fail)
    monkeypatch.setattr(grants, "allows_content", pytest.fail)
    demands = Demands(grants, Claims(), lambda page, number: True)
    body = {"session_hash": "page", "fn_index": 1, "data": content}
    begun = time.perf_counter()
    with pytest.raises(Refusal, match="50,000 values") as refused:
        demands._check_event(Kind.EVENT, "ada", body)
    assert refused.value.status == 413 and time.perf_counter() - begun < 1


def test_an_event_of_many_values_passes(grants: Grants) -> None:
    demands = Demands(grants, Claims(), lambda page, number: True)
    for text in ("a", "a/b", "%41/%42"):
        demands._check_event(Kind.EVENT, "ada", {"session_hash": "page", "fn_index": 1, "data": [text] * 40_000})


@pytest.mark.parametrize("place", [".", "..", "hash", "hash/deeper"])
def test_no_relative_path_leads_to_anothers_file_from_wherever_the_studio_runs(
    grants: Grants, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = grants.folder / "hash" / "secret.png"
    (grants.folder / "hash" / "deeper").mkdir(parents=True)
    grants.allow("ada", str(theirs))
    monkeypatch.chdir(grants.folder / place)
    relative = os.path.relpath(theirs)
    for spelling in (
        relative,
        f"file={relative}",
        quote(relative, safe=""),
        "".join(f"%{ord(c):02x}" for c in relative),
    ):
        assert not grants.allows_content("ben", [spelling]), spelling


@hypothesis.given(
    dots=st.lists(st.sampled_from(["./", "/", "x/../", "%2e/", ""]), max_size=4),
    start=st.sampled_from(
        ["", "/", "file=", "/gradio_api/file=", "http://h/gradio_api/file=", "file://", "http://h/file/"]
    ),
    encoded=st.integers(0, 2),
    place=st.sampled_from(["text", "path", "url", "key", "list", "deep"]),
)
def test_no_spelling_of_anothers_file_passes(
    tmp_path_factory: pytest.TempPathFactory, dots: list[str], start: str, encoded: int, place: str
) -> None:
    grants = Grants(tmp_path_factory.getbasetemp() / "cache")
    theirs = f"{grants.folder}/hash/secret.png"
    grants.allow("ada", theirs)
    spelling = f"{os.path.dirname(theirs)}/{''.join(dots)}secret.png"
    for _ in range(encoded):
        spelling = quote(spelling, safe="/")
    spelling = start + spelling
    content = {
        "text": spelling, "path": {"path": spelling}, "url": {"url": spelling}, "key": {spelling: 1},
        "list": [["a", spelling]], "deep": {"a": [{"b": {"c": spelling}}]},
    }[place]  # fmt: skip
    assert not grants.allows_content("ben", content)
