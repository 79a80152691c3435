"""Inputs that nobody thought of: whatever comes in, a sound object or an error in words comes out, in little memory."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion.dataset import Concept, load_concept
from spectral_diffusion.errors import SpectralDiffusionError
from spectral_diffusion.fusion import FusedAdapter, load_fused
from spectral_diffusion.images import read_image
from spectral_diffusion.names import printable
from tests.hostile.adapter_files import put_together, sound, taken_apart
from tests.hostile.cases_archives import PHOTOGRAPH, TOML, WHOLE, zipped
from tests.hostile.cases_images import NOISE, encoded

MEMORY_LIMIT_BYTES = 700e6
"""More than before. A damaged picture may claim 100 megapixels, which are 400 MB."""
SOUND_PICTURES = [PHOTOGRAPH, encoded(NOISE, "JPEG"), encoded(NOISE, "WEBP"), encoded(NOISE.convert("LA"))]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([2**63, -1, 0, ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
often = settings(max_examples=80, suppress_health_check=list(HealthCheck))
very_often = settings(max_examples=2500, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def _in_little_memory() -> Any:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY_LIMIT_BYTES


@st.composite
def damaged(draw: st.DrawFn, sounds: st.SearchStrategy[bytes]) -> bytes:
    """Bytes changed, taken out, put in or doubled, at up to four places."""
    content = bytearray(draw(sounds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 40))
        what = draw(st.sampled_from(["put", "cut", "double", "end", "flip"]))
        if what == "put":
            content[at : at + length] = draw(st.binary(min_size=1, max_size=max(1, length)))
        elif what == "cut":
            del content[at : at + length]
        elif what == "double":
            content[at:at] = content[at : at + length]
        elif what == "end":
            del content[at:]
        elif content:
            content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


@st.composite
def altered_headers(draw: st.DrawFn) -> bytes:
    """A sound adapter file in whose headers up to three values are others, missing or added."""
    header, data = taken_apart(sound(fused=draw(st.booleans()), half=draw(st.booleans())))
    own = json.loads(header["__metadata__"]["spectral_diffusion"])
    for _ in range(draw(st.integers(1, 3))):
        _alter(draw, draw(st.sampled_from([header, own])))
    if isinstance(header.get("__metadata__"), dict) and draw(st.booleans()):
        header["__metadata__"]["spectral_diffusion"] = json.dumps(own)
    return put_together(json.dumps(header).encode(), data)


def _alter(draw: st.DrawFn, tree: Any) -> None:
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(tree[key], dict | list) and tree[key] and draw(st.booleans()):
            tree = tree[key]
            continue
        what = draw(st.sampled_from(["other", "other", "missing", "more"]))
        if what == "missing":
            del tree[key]
        elif what == "more" and isinstance(tree, dict):
            tree[draw(st.text(max_size=12))] = draw(JSON)
        else:
            tree[key] = draw(JSON)
        return


@st.composite
def folders(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a concept folder, some of them damaged, some made up."""
    stems = st.sampled_from(["1", "2", "a b", "é", "concept", ""])
    ends = st.sampled_from([".png", ".jpg", ".webp", ".txt", ".mask.png", ".toml", ".TXT", ".svg", ""])
    contents = st.one_of(
        st.sampled_from([*SOUND_PICTURES, TOML, b""]),
        damaged(st.sampled_from([*SOUND_PICTURES, TOML])),
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode(errors="replace")),
    )
    names = st.tuples(stems, ends).map("".join).filter(bool)
    files = draw(st.dictionaries(names, contents, max_size=5))
    if draw(st.booleans()):
        files["concept.toml"] = draw(damaged(st.just(TOML)) | st.text(max_size=200).map(lambda text: text.encode()))
    return {**({"1.png": PHOTOGRAPH} if draw(st.booleans()) else {}), **files}


def _check(read: Callable[[], Any], kind: type) -> None:
    told = None
    try:
        assert isinstance(read(), kind)
    except SpectralDiffusionError as error:
        told = error
    assert told is None or (told.what and told.remedy and printable(str(told)) == str(told))


def _read(content: bytes, door: Callable[[Path], Any], kind: type) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(content)
        _check(lambda: door(path), kind)


def _read_folder(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "octo"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        _check(lambda: load_concept(folder), Concept)
    _read(zipped(files), load_concept, Concept)


ADAPTERS = st.one_of(
    altered_headers(),
    damaged(st.sampled_from([False, True]).map(lambda fused: sound(fused=fused))),
    st.binary(max_size=300).map(put_together),
    JSON.map(lambda value: put_together(json.dumps({"__metadata__": value}).encode())),
    JSON.map(lambda value: put_together(json.dumps({"__metadata__": {"spectral_diffusion": value}}).encode())),
)
PICTURES = damaged(st.sampled_from(SOUND_PICTURES)) | st.binary(max_size=300)
ZIPS = damaged(st.sampled_from([zipped(WHOLE), zipped({"octo/1.png": PHOTOGRAPH, "octo/1.txt": b"an octopus"})]))


@often
@given(ADAPTERS)
def test_adapters(content: bytes) -> None:
    _read(content, load_fused, FusedAdapter)
    _read(content, Adapter.load, Adapter)


@often
@given(PICTURES)
def test_pictures(content: bytes) -> None:
    _read(content, read_image, object)


@often
@given(folders())
def test_concept_folders(files: dict[str, bytes]) -> None:
    _read_folder(files)


@often
@given(ZIPS)
def test_zips(content: bytes) -> None:
    _read(content, load_concept, Concept)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("strategy", "door", "kind"),
    [(ADAPTERS, load_fused, FusedAdapter), (PICTURES, read_image, object), (ZIPS, load_concept, Concept)],
    ids=["adapters", "pictures", "zips"],
)
def test_thousands_of_each(strategy: st.SearchStrategy[bytes], door: Callable[[Path], Any], kind: type) -> None:
    very_often(given(strategy)(lambda content: _read(content, door, kind)))()


@pytest.mark.slow
@pytest.mark.timeout(900)
@very_often
@given(folders())
def test_thousands_of_folders(files: dict[str, bytes]) -> None:
    _read_folder(files)
