"""Wrong input gives one clear line and exit code 2, and leaves nothing half-written behind."""

import errno
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.cli.console import describe
from spectral_diffusion.images import read_png_text, save_png
from spectral_diffusion.ledger import Ledger
from tests.command_line import Answer, call, write_concept, write_recipe
from tests.miniature import make_miniature


class Place(NamedTuple):
    """A workspace on the base in miniature, with one trained adapter in slot 0."""

    root: Path
    recipe: Path
    adapter: Path


@pytest.fixture(scope="module")
def place(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    from spectral_diffusion.cli import main

    root = tmp_path_factory.mktemp("workspace")
    recipe = write_recipe(root, miniature)
    concept = write_concept(root / "concepts" / "red", "dog", 1)
    assert main(["train", str(concept), "--config", str(recipe), "--workspace", str(root)]) == 0
    return Place(root, recipe, root / "adapters" / "red.safetensors")


def _tree(folder: Path) -> dict[str, bytes]:
    """All files, but for the lock beside the ledger, which is empty and stays."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _refused(answer: Answer, *words: str) -> None:
    """One line on stderr that starts with `error:`, says what and what to do, and nothing on stdout."""
    answer.expect(2)
    lines = [line for line in answer.stderr.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("error: ") and "; " in lines[0]
    for word in words:
        assert word in lines[0]
    assert answer.stdout == ""


def _empty(folder: Path) -> None:
    folder.mkdir()


def _of_folders(folder: Path) -> None:
    write_concept(folder / "inside", "dog", 1)


def _text_named_png(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.png").write_text("I am a letter")


def _one_pixel(folder: Path) -> None:
    folder.mkdir()
    Image.new("RGB", (1, 1)).save(folder / "a.png")


def _huge(folder: Path) -> None:
    folder.mkdir()
    Image.new("1", (12_000, 10_000)).save(folder / "a.png")


def _animated(folder: Path) -> None:
    folder.mkdir()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "a.webp", save_all=True, append_images=frames[1:])


def _gif(folder: Path) -> None:
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "a.gif")


def _heic(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))


def _svg(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')


def _cut_off(folder: Path) -> None:
    write_concept(folder, "dog", 1, count=1)
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:2000])


def _fifty_one(folder: Path) -> None:
    write_concept(folder, "dog", 1, count=51)


def _bad_toml(folder: Path) -> None:
    write_concept(folder, "dog", 1)
    (folder / "concept.toml").write_text("token = ")


def _bad_token(folder: Path) -> None:
    write_concept(folder, "dog", 1)
    (folder / "concept.toml").write_text('token = "octo"\nclass_word = "octopus"\n')


def _nowhere(folder: Path) -> None:
    pass


def _a_file(folder: Path) -> None:
    folder.write_text("I am a file")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nowhere, ("no concept folder", "bad")),
        (_a_file, ("is a file", "bad")),
        (_empty, ("no photographs found in", "bad")),
        (_of_folders, ("folders, not photographs", "inside")),
        (_text_named_png, ("a.png", "is not a PNG, JPEG or WebP")),
        (_one_pixel, ("a.png", "1 x 1")),
        (_huge, ("a.png", "100 megapixels", "scale it down")),
        (_animated, ("a.webp", "animation")),
        (_gif, ("a.gif", "is not a PNG, JPEG or WebP")),
        (_heic, ("a.heic", "HEIC")),
        (_svg, ("a.svg", "SVG")),
        (_cut_off, ("0.png", "damaged")),
        (_fifty_one, ("51", "50")),
        (_bad_toml, ("concept.toml", "TOML")),
        (_bad_token, ("'octo'", "<octo>")),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_concept_that_cannot_be_used(
    make: Callable[[Path], None],
    words: tuple[str, ...],
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / "bad")
    before, claims = _tree(place.root), Ledger(place.root / "ledger.json").holders()
    answer = call(capsys, "train", tmp_path / "bad", "--config", place.recipe, "--workspace", place.root)
    _refused(answer, *words)
    assert _tree(place.root) == before
    assert Ledger(place.root / "ledger.json").holders() == claims


def test_pictures_of_print_shops_scanners_and_cameras_are_read_and_trained_on(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.new("CMYK", (64, 48), (0, 255, 255, 0)).save(folder / "print.jpg")
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(folder / "scan.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), "green").save(folder / "camera.jpg", exif=exif)
    answer = call(capsys, "train", folder, "--config", place.recipe, "--workspace", tmp_path, "--json").expect(0)
    assert Path(answer.json["adapters"][0]["file"]).is_file()


def _train(capsys: pytest.CaptureFixture[str], place: Place, root: Path, name: str, *more: object) -> Answer:
    concept = root / "concepts" / name
    if not concept.exists():
        write_concept(concept, "dog", len(name))
    return call(capsys, "train", concept, "--config", place.recipe, "--workspace", root, *more)


def test_slots_that_are_taken_beyond_the_last_or_used_up(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(capsys, place, tmp_path, "first", "--rank", 16).expect(0)
    before = _tree(tmp_path / "adapters")
    _refused(_train(capsys, place, tmp_path, "other", "--rank", 16, "--slot", 0), "slot 0", "first")
    _refused(_train(capsys, place, tmp_path, "other", "--rank", 16, "--slot", 2), "slot 2", "choose 0 to 1")
    _train(capsys, place, tmp_path, "second", "--rank", 16).expect(0)
    before |= _tree(tmp_path / "adapters")
    _refused(_train(capsys, place, tmp_path, "third", "--rank", 16), "none of the 2 slots", "release")
    _refused(_train(capsys, place, tmp_path, "third", "--rank", 500), "500")
    assert _tree(tmp_path / "adapters") == before
    assert {claim.concept for claim in Ledger(tmp_path / "ledger.json").holders()} == {"first", "second"}


def test_overlapping_slots_are_refused_with_their_concepts_or_told_by_choice(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(capsys, place, tmp_path, "blue").expect(0)
    blue, out = tmp_path / "adapters" / "blue.safetensors", tmp_path / "both.safetensors"
    _refused(call(capsys, "fuse", place.adapter, blue, "--out", out), "red", "blue", "share columns")
    assert not out.exists()
    told = call(capsys, "fuse", place.adapter, blue, "--out", out, "--on-overlap", "warn").expect(0)
    assert "warning: " in told.stderr and out.is_file()


def test_an_adapter_of_another_base(
    place: Place, tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_miniature(tmp_path / "other-base", seed=1)
    recipe = write_recipe(tmp_path, other)
    drawing = ["generate", "-a", place.adapter, "-p", "a <red>", "--config", recipe, "--workspace", tmp_path]
    _refused(call(capsys, *drawing), miniature.name, "other-base", "--allow-other-base")
    assert not (tmp_path / "images").exists()
    call(capsys, *drawing, "--allow-other-base").expect(0)


def _pickle(path: Path, adapter: Path) -> None:
    torch.save({"a": torch.zeros(2)}, path)


def _not_a_number(path: Path, adapter: Path) -> None:
    with safe_open(adapter, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        header = file.metadata()
    next(tensor for name, tensor in tensors.items() if name.endswith(".A"))[0, 0] = float("nan")
    save_file(tensors, path, header)


def _foreign(path: Path, adapter: Path) -> None:
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 2)}, path)


def _half(path: Path, adapter: Path) -> None:
    path.write_bytes(adapter.read_bytes()[:-100])


def _nothing(path: Path, adapter: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_pickle, ("pickle",)),
        (_not_a_number, ("not finite",)),
        (_foreign, ("not an adapter",)),
        (_half, ("damaged",)),
        (_nothing, ("empty",)),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
@pytest.mark.parametrize("verb", ["generate", "fuse", "inspect"])
def test_a_file_that_is_no_sound_adapter(
    verb: str,
    make: Callable[[Path, Path], None],
    words: tuple[str, ...],
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.safetensors"
    make(bad, place.adapter)
    arguments = {
        "generate": ["-a", bad, "-p", "a dog", "--config", place.recipe, "--out", tmp_path / "out"],
        "fuse": [bad, "--out", tmp_path / "out"],
        "inspect": [bad],
    }
    _refused(call(capsys, verb, *arguments[verb]), "bad.safetensors", *words)
    assert not (tmp_path / "out").exists()


@contextmanager
def _little_space(byte_count: int) -> Iterator[None]:
    """No file may grow beyond this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(
    place: Place,
    miniature: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_concept(tmp_path / "concepts" / "blue", "cat", 2)
    before = _tree(tmp_path)
    with _little_space(4096):
        _refused(_train(capsys, place, tmp_path, "blue"), "blue.safetensors", "free some space")
        _refused(call(capsys, "fuse", place.adapter, "--out", tmp_path / "f.safetensors"), "free some space")
    often = write_recipe(tmp_path_factory.mktemp("often"), miniature, checkpoint_every=1)
    training = ["train", tmp_path / "concepts" / "blue", "--config", often, "--workspace", tmp_path]
    with _little_space(4096):
        _refused(call(capsys, *training), "checkpoints", "free some space")
    drawing = ["generate", "-p", "a dog", "--config", place.recipe, "--workspace", tmp_path]
    with _little_space(512):
        _refused(call(capsys, *drawing), "free some space")
    assert {name: content for name, content in _tree(tmp_path).items() if name != "ledger.json"} == before
    assert Ledger(tmp_path / "ledger.json").holders() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /sys, which even root cannot write to")
def test_a_read_only_folder_is_told_before_any_work(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    shut = Path("/sys/kernel/shut")
    concept = place.root / "concepts" / "red"
    _refused(call(capsys, "train", concept, "--config", place.recipe, "--workspace", shut), str(shut))
    _refused(call(capsys, "fuse", place.adapter, "--out", shut / "f.safetensors"), str(shut))
    drawing = call(capsys, "generate", "-p", "a dog", "--config", place.recipe, "--out", shut)
    _refused(drawing, str(shut))
    assert "%|" not in drawing.stderr
    _refused(call(capsys, "demo", "--out", shut), str(shut))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dance"], ("dance", "--help")),
        (["train"], ("CONCEPT_DIR", "train --help")),
        (["train", "x", "--rank", "0"], ("--rank",)),
        (["train", "x", "--slot", "-1"], ("-1",)),
        (["train", "x", "--method", "magic"], ("magic", "spectral")),
        (["train", "x", "--colour", "red"], ("--colour",)),
        (["train", "x", "--base", "nowhere"], ("nowhere",)),
        (["train", "x", "--config", "nowhere.toml"], ("nowhere.toml",)),
        (["generate"], ("--prompt", "--from")),
        (["generate", "-p", "a dog", "--size", "big"], ("big", "WxH")),
        (["generate", "-p", "a dog", "--size", "100000x3"], ("100000x3",)),
        (["generate", "-p", "a dog", "--count", "0"], ("--count",)),
        (["generate", "-p", "a dog", "--seed", "-1"], ("--seed",)),
        (["generate", "-p", "a dog", "--device", "abacus"], ("abacus",)),
        (["generate", "-p", "a dog", "-a", "nowhere.safetensors"], ("nowhere.safetensors",)),
        (["generate", "-p", "a dog", "-a", "nowhere.safetensors:nan"], ("nan",)),
        (["generate", "-p", "a dog", "-a", "nowhere.safetensors:1e9"], ("1e9",)),
        (["generate", "--from", "nowhere.png"], ("nowhere.png",)),
        (["generate", "--from", "nowhere.png", "--allow-other-base"], ("--allow-other-base",)),
        (["fuse", "a.safetensors"], ("--out",)),
        (["fuse", "a.safetensors", "--out", "b", "--rename", "x"], ("OLD=NEW",)),
        (["fuse", "a.safetensors", "--out", "b", "--rename", "x=y", "--rename", "x=z"], ("given twice",)),
        (["score", "nowhere.png"], ("nowhere.png",)),
        (["inspect", "nowhere.safetensors"], ("nowhere.safetensors",)),
        (["slots", "release", "nobody"], ("nobody",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_make_no_command(
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(call(capsys, *arguments), *words)
    assert _tree(tmp_path) == {}


def test_a_prompt_with_a_token_that_no_adapter_has(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = call(capsys, "generate", "-p", "a <nobody>", "--config", place.recipe, "--workspace", tmp_path)
    _refused(drawing, "<nobody>")
    assert _tree(tmp_path) == {}


@pytest.mark.parametrize("word", ["two words", "<open", "a>b", "a@b", "x" * 41])
def test_a_token_is_renamed_only_to_what_can_be_one(
    word: str, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "f.safetensors"
    _refused(call(capsys, "fuse", place.adapter, "--out", out, "--rename", f"red={word}"), word, "cannot be a token")
    assert not out.exists()


def test_a_picture_without_settings_or_with_an_adapter_that_is_gone(
    place: Place, tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    _refused(call(capsys, "generate", "--from", tmp_path / "plain.png"), "no settings")
    drawn = call(
        capsys, "generate", "-a", place.adapter, "-p", "a <red>", "--config", place.recipe, "--out", tmp_path
    ).expect(0)
    repeating = ["generate", "--from", drawn.stdout.strip(), "--base", miniature, "--workspace", tmp_path]
    _refused(call(capsys, *repeating), "red", "--adapter")
    call(capsys, *repeating, "--adapter", place.adapter).expect(0)


def test_a_picture_of_another_base_than_the_toybox_is_repeated_only_with_the_base_that_is_named(
    place: Place, tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = call(capsys, "generate", "-p", "a dog", "--base", miniature, "--steps", 1, "--out", tmp_path).expect(0)
    picture = Path(drawn.stdout.strip())
    text = read_png_text(picture)
    monkeypatch.chdir(miniature.parent)
    loaded: list[object] = []
    monkeypatch.setattr("spectral_diffusion.diffusion.base.load_base", lambda name, **_: loaded.append(name))
    for name, words in (
        (miniature.name, ("the folder of", miniature.name)),
        ("stranger/model", ("use --base stranger/model",)),
        (str(miniature), ("--base",)),
    ):
        told = json.dumps(json.loads(text["spectral_diffusion"]) | {"base": name})
        save_png(Image.open(picture), picture, text | {"spectral_diffusion": told})
        _refused(call(capsys, "generate", "--from", picture, "--workspace", tmp_path), name, *words)
    assert loaded == []


def test_a_picture_is_repeated_with_its_own_strengths_and_with_progress(
    place: Place, tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = call(
        capsys, "generate", "-a", place.adapter, "-p", "a <red>", "--config", place.recipe, "--out", tmp_path
    ).expect(0)
    repeating = ["generate", "--from", drawn.stdout.strip(), "--base", miniature, "--workspace", tmp_path]
    for strength in ("0.5", "1"):
        _refused(call(capsys, *repeating, "-a", f"{place.adapter}:{strength}"), f"red.safetensors:{strength}", "leave")
    monkeypatch.chdir(place.root)
    again = call(capsys, *repeating, "-a", "./adapters/red.safetensors", "--count", 2).expect(0)
    assert len(again.stdout.split()) == 2
    assert "drawing" in again.stderr and "4/4" in again.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        *((number, 2) for number in (
            errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EISDIR,
            errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG,
        )),
        *((number, 1) for number in (errno.EBADF, errno.EINVAL, errno.EMFILE, errno.ECONNREFUSED, errno.EIO)),
        (None, 1),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) and value > 2 else "",
)  # fmt: skip
def test_what_the_system_refuses_is_the_persons_only_where_a_path_or_the_disk_is(number: int | None, code: int) -> None:
    error = OSError(number, os.strerror(number), "some/path") if number else OSError("no number")
    line, given = describe(error)
    assert given == code and "; " in line
    assert ("a fault of ours" in line) == (code == 1)


def test_an_error_leaves_stdout_to_machines_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = call(capsys, "inspect", tmp_path / "nowhere.safetensors", "--json")
    assert answer.code == 2 and answer.stdout == ""


def test_resume_without_a_checkpoint(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(_train(capsys, place, tmp_path, "blue", "--resume"), "no checkpoint", "--resume")


def test_a_recipe_with_faults_names_them_all(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "faulty.toml"
    recipe.write_text(place.recipe.read_text().replace("rank = 4", 'rank = 0\nrnk = "x"'))
    answer = call(capsys, "train", place.root / "concepts" / "red", "--config", recipe, "--workspace", tmp_path)
    _refused(answer, "2 faults", "training.rank", "training.rnk")


def test_a_loss_that_is_not_finite_ends_training_and_keeps_nothing_broken(
    place: Place, tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spectral_diffusion.diffusion.learner.masked_loss",
        lambda predicted, *_: predicted.sum() * float("nan"),
    )
    _refused(_train(capsys, place, tmp_path, "blue"), "blue", "nan", "learning rates")
    assert not list(tmp_path.rglob("*.safetensors"))
    assert Ledger(tmp_path / "ledger.json").holders() == []


def test_adapters_written_by_the_command_line_load_elsewhere(place: Place) -> None:
    adapter = Adapter.load(place.adapter)
    assert str(place.root) not in json.dumps(adapter.pack()[0])
    assert os.fspath(Path.home()) not in json.dumps(adapter.pack()[0])
