import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from spectral_diffusion.diffusion.curation import set_mask
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import train_spec
from spectral_diffusion.studio import concept_words, concepts, files, picture_editor
from spectral_diffusion.studio.added_photographs import add_offer, add_photographs_to
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.parts.upload_results import Outcome, outcomes
from spectral_diffusion.studio.parts.uploads import OFFER_LIMIT, Offer, Upload, read_offer, uploaded
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import SAMPLES, Workspace
from tests.command_line import write_concept

STATE = {"concept": None, "photograph": None, "undo": None}


@dataclass
class Screen:
    """A screen without a browser: its functions are called as its events call them.

    Args:
        desk: Of the person.
        blocks: The page.
    """

    desk: Desk
    blocks: gr.Blocks

    def do(self, name: str, *values: Any, told: Any = None, told_at: int | None = None) -> Any:
        """What the event of this function gives; `told` is what a component of ours tells with it."""
        function = next(held.fn for held in self.blocks.fns.values() if held.fn and held.fn.__name__ == name)
        inputs = list(values)
        if told is not None:
            inputs.insert(len(inputs) if told_at is None else told_at, gr.EventData(None, told))
        return function(gr.Request(username=self.desk.user), *inputs)


def studio_in(root: Path, *, has_accounts: bool = False) -> Studio:
    """A studio whose workspace is empty, without samples."""
    for folder in (root / "shown", root / "adapters", *(root / "users" / user / "adapters" for user in ("ada", "ben"))):
        folder.mkdir(parents=True)
    queue = JobQueue(Database(f"sqlite:///{root / 'jobs.sqlite'}"), Store(str(root)))
    return Studio(Workspace(root), queue, Grants(root / "shown"), has_accounts=has_accounts)


def screen_of(studio: Studio, build: Any) -> Screen:
    """The page of one screen."""
    with gr.Blocks() as blocks, gr.Tabs() as tabs:
        shell = Shell(studio, blocks, tabs, gr.State([]), gr.State(None))
        with gr.Tab("Screen") as tab:
            build(shell, tab)
    return Screen(Desk.of(studio, None), blocks)


def with_workspace(screen: Screen, root: Path) -> Screen:
    """The same page with another workspace: building one takes seconds."""
    studio = screen.desk.studio
    studio.root = Workspace(root)
    studio.root.adapters.mkdir(parents=True)
    write_concept(studio.root.concepts / "mug", "mug", 1)
    return Screen(Desk.of(studio, None), screen.blocks)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    studio = studio_in(tmp_path / "work")
    yield Desk.of(studio, None)
    studio.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    studio = studio_in(tmp_path_factory.mktemp("stage") / "work")
    yield screen_of(studio, concepts.build)
    studio.close()


@pytest.fixture
def screen(stage: Screen, tmp_path: Path) -> Screen:
    """The screen with a workspace of the test's own, in which there is a concept of two photographs."""
    return with_workspace(stage, tmp_path / "work")


def sent(desk: Desk, name: str, content: bytes) -> Path:
    """An upload as Gradio keeps it."""
    folder = desk.studio.grants.folder / f"upload-{len(list(desk.studio.grants.folder.iterdir()))}"
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder / name


def picture(seed: int, size: tuple[int, int] = (96, 80), form: str = "PNG", **options: Any) -> bytes:
    """A photograph that no other seed gives."""
    image = Image.effect_noise(size, 90).convert("RGB")
    image.paste((seed * 37 % 256, seed * 91 % 256, seed % 256), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def offer_of(desk: Desk, **contents: bytes) -> Offer:
    return Offer(tuple(Upload(sent(desk, name.replace("__", "."), content)) for name, content in contents.items()))


# Names.


def test_a_name_gives_token_and_class_word_until_a_person_writes_their_own(desk: Desk) -> None:
    assert concept_words.follow(desk, "Blue Cup", "", "", ["", ""]) == [
        "<Blue-Cup>",
        "Blue Cup",
        ["<Blue-Cup>", "Blue Cup"],
    ]
    given = ["<Blue-Cup>", "Blue Cup"]
    assert concept_words.follow(desk, "Cup", "<Blue-Cup>", "mug", given) == ["<Cup>", "mug", ["<Cup>", "Cup"]]
    assert concept_words.follow(desk, "...", "", "", None) == ["", "", ["", ""]]


def test_a_new_concept_is_made_and_looked_at_and_toybox_says_what_it_draws(screen: Screen) -> None:
    results, kept, listed, *rest = screen.do("make", dict(STATE), "Tea Pot", "<pot>", "teapot", "blue teapot")
    assert results == "" and kept["concept"] == "Tea-Pot"
    assert [item["folder"] for item in listed if item["on"]] == ["Tea-Pot"]
    heading = rest[2]
    assert "as a toy" in heading and "<pot>" not in heading and "&lt;pot&gt;" in heading and "blue teapot" in heading
    assert (screen.desk.workspace.concepts / "Tea-Pot" / "concept.toml").is_file()


def test_a_concept_without_a_name_is_refused(screen: Screen) -> None:
    with pytest.raises(gr.Error, match="no name"):
        screen.do("make", dict(STATE), "  ", "", "", "")


def test_a_token_that_another_concept_has_is_refused_with_its_name(screen: Screen) -> None:
    with pytest.raises(gr.Error, match="concept mug has the token"):
        screen.do("make", dict(STATE), "cup", "<mug>", "cup", "")


def test_a_new_name_with_words_that_are_refused_changes_nothing(desk: Desk) -> None:
    folder = write_concept(desk.workspace.concepts / "mug", "mug", 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (concept,) = [one for one in concepts.list_concepts(desk.workspace) if one.folder == "mug"]
    with pytest.raises(InputError, match="class word"):
        concept_words.save(desk, concept, "cup", "<cup>", "<<<", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert concept_words.save(desk, concept, "cup", "<cup>", "cup", "white cup") == "cup"
    assert load_concept(desk.workspace.concepts / "cup").description == "white cup"


# Uploads.


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes__png", b"", "is not a PNG"),
        ("notes__jpg", b"%PDF-1.4", "PDF"),
        ("phone__heic", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        ("tiny__png", picture(1, (8, 8)), "8 x 8"),
        ("half__png", picture(1)[:300], "damaged"),
        ("out__zip", zipped(**{"..__..__evil.png": b"x"}), "leads out of the folder"),
        ("none__zip", zipped(**{"readme.md": b"x"}), "no photographs"),
        ("broken__zip", zipped(a=b"x")[:-9], "zip"),
    ],
)
def test_what_is_no_photograph_is_refused_in_words(screen: Screen, name: str, content: bytes, words: str) -> None:
    desk = screen.desk
    found = add_offer(desk, "mug", offer_of(desk, **{name: content, "good__png": picture(2)}))
    (refused,) = [one for one in found if one.refused]
    assert words in refused.refused and str(desk.studio.grants.folder) not in refused.refused
    assert [one.stored for one in found if not one.refused] == ["02.png"]


def test_animations_and_pictures_beyond_the_limit_are_refused_in_words(screen: Screen) -> None:
    large = io.BytesIO()
    Image.new("1", (11_000, 11_000)).save(large, format="PNG")
    moving = picture(3, form="WEBP", save_all=True, append_images=[Image.new("RGB", (96, 80), "red")])
    found = add_offer(screen.desk, "mug", offer_of(screen.desk, large__png=large.getvalue(), moving__webp=moving))
    said = {one.name: one.refused for one in found}
    assert "11000 x 11000" in said["large.png"] and "animation of 2 frames" in said["moving.webp"]


def test_fifty_photographs_fit_and_the_next_is_refused(screen: Screen) -> None:
    archive = zipped(**{f"{number}.png": picture(number, (32, 32)) for number in range(49)})
    found = add_offer(screen.desk, "mug", offer_of(screen.desk, many__zip=archive))
    assert sum(1 for one in found if one.stored) == 48
    (refused,) = [one for one in found if one.refused]
    assert "50 photographs" in refused.refused


def test_location_data_is_removed_and_said_so(screen: Screen) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (50.0, 1.0, 2.0)
    (one,) = add_offer(screen.desk, "mug", offer_of(screen.desk, holiday__jpg=picture(4, form="JPEG", exif=exif)))
    assert "location data removed" in one.notes
    assert "location data removed" in outcomes([one], "photograph")
    stored = screen.desk.workspace.concepts / "mug" / one.stored
    assert not Image.open(stored).getexif()


def test_names_in_any_script_are_shown_and_stored_under_numbers(screen: Screen) -> None:
    names = ["写真", "Фото", "صورة", "a" * 150, "-rf", "<b>bold</b>"]
    offer = Offer(
        tuple(
            Upload(sent(screen.desk, f"{name}.png", picture(20 + n))) for n, name in enumerate(names) if "/" not in name
        )
    )
    found = add_offer(screen.desk, "mug", offer)
    assert [one.stored for one in found] == [f"{2 + n:02d}.png" for n in range(len(found))]
    shown = outcomes([*found, Outcome("<b>x</b>.png", refused="<i>no</i>")], "photograph")
    assert "写真" in shown and "<b>x" not in shown and "<i>" not in shown


def test_what_has_one_name_in_two_folders_is_two_photographs_with_their_own_captions(screen: Screen) -> None:
    desk = screen.desk
    uploads = [
        Upload(sent(desk, name, content), folder)
        for folder, seed, text in (("a", 5, b"one"), ("b", 6, b"two"))
        for name, content in (("1.png", picture(seed)), ("1.txt", text))
    ]
    found = add_offer(desk, "mug", Offer(tuple(uploads), failed=(("big.png", "it has 600 MB"),)))
    assert [one.refused for one in found if one.refused] == ["it has 600 MB"]
    captions = {row["name"]: row["caption"] for row in concepts.captioned(desk, "mug")["rows"]}
    assert captions == {"0.png": "", "1.png": "", "02.png": "one", "03.png": "two"}


def test_an_upload_is_shown_with_its_verdict_and_the_drop_zone_rests(screen: Screen) -> None:
    path = sent(screen.desk, "new.png", picture(7, (200, 200)))
    kept = {**STATE, "concept": "mug"}
    told = {
        "files": [{"path": str(path), "folder": ""}],
        "failed": [{"name": "x.png", "why": "it is empty (0 bytes)"}],
        "about": "mug",
    }
    said, kept, *shown = screen.do("take", kept, gr.EventData(None, told), gr.Progress())
    assert "1 photograph stored, 1 refused" in said and kept["concept"] == "mug"
    assert [value["about"] for value in shown if isinstance(value, dict) and "about" in value] == ["mug"]
    rows = next(value["rows"] for value in shown if isinstance(value, dict) and "rows" in value)
    assert {row["name"] for row in rows} == {"0.png", "1.png", "02.png"}
    assert all(row["verdict"] for row in rows)


def test_photographs_go_to_the_concept_they_were_dropped_on_whatever_is_looked_at_since(screen: Screen) -> None:
    desk = screen.desk
    write_concept(desk.workspace.concepts / "cup", "cup", 2)
    before = {row["name"] for row in concepts.captioned(desk, "cup")["rows"]}
    told = {"files": [{"path": str(sent(desk, "new.png", picture(7, (200, 200))))}], "failed": [], "about": "mug"}
    _, kept, *_ = screen.do("take", {**STATE, "concept": "cup"}, gr.EventData(None, told), gr.Progress())
    assert kept["concept"] == "cup", "what is looked at stays"
    assert {row["name"] for row in concepts.captioned(desk, "cup")["rows"]} == before
    assert "02.png" in {row["name"] for row in concepts.captioned(desk, "mug")["rows"]}
    for forged in (None, "gone", "../mug", ["mug"], {}):
        with pytest.raises(gr.Error, match="no concept"):
            screen.do("take", dict(STATE), gr.EventData(None, {**told, "about": forged}), gr.Progress())


@pytest.mark.parametrize("path", ["/etc/passwd", "", "\0", "../shown/x", None, 7, {"path": "/etc/passwd"}])
def test_what_is_no_upload_is_never_opened(desk: Desk, path: Any) -> None:
    with pytest.raises(InputError, match="cannot be found"):
        uploaded(desk, path)


def test_links_and_detours_are_no_uploads(desk: Desk) -> None:
    secret = desk.workspace.root / "secret.png"
    secret.write_bytes(picture(1))
    folder = desk.studio.grants.folder
    (folder / "link.png").symlink_to(secret)
    for path in (folder / "link.png", folder / ".." / "secret.png", folder):
        with pytest.raises(InputError, match="cannot be found"):
            uploaded(desk, str(path))


def test_the_upload_of_another_user_is_none(tmp_path: Path) -> None:
    studio = studio_in(tmp_path / "work", has_accounts=True)
    ada, ben = Desk.of(studio, "ada"), Desk.of(studio, "ben")
    path = str(sent(ada, "mine.png", picture(1)))
    studio.grants.allow("ada", path)
    assert uploaded(ada, path) == Path(path)
    with pytest.raises(InputError, match="cannot be found"):
        read_offer(ben, gr.EventData(None, {"files": [{"path": path}]}))
    studio.close()


def test_more_files_than_agreed_are_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match=f"{OFFER_LIMIT + 1} files"):
        read_offer(desk, gr.EventData(None, {"files": [{"path": "x"}] * (OFFER_LIMIT + 1)}))


# Photographs.


def test_a_caption_is_saved_and_a_refused_one_has_its_words(screen: Screen) -> None:
    told = {"concept": "mug", "name": "0.png", "text": "a photo of <mug> in rain"}
    value = screen.do("write_caption", {**STATE, "concept": "mug"}, told=told)
    assert [row["caption"] for row in value["rows"]] == ["a photo of <mug> in rain", ""]
    value = screen.do("write_caption", {**STATE, "concept": "mug"}, told={**told, "text": "x" * 100_000})
    assert value["rows"][0]["refused"].startswith("not saved") and value["rows"][0]["caption"] == told["text"]
    assert not value["rows"][1]["refused"]


def test_a_photograph_is_cropped_and_the_whole_one_comes_back(screen: Screen) -> None:
    desk, kept = screen.desk, {**STATE, "concept": "big", "photograph": "0.png"}
    folder = write_concept(desk.workspace.concepts / "big", "mug", 2)
    Image.open(folder / "0.png").resize((300, 200)).save(folder / "0.png")
    told = {"concept": "big", "name": "0.png", "box": [10, 20.4, 150, 120]}
    crop = next(held.fn for held in screen.blocks.fns.values() if held.targets[0][1] == "crop" and held.fn)
    kept = crop(gr.Request(), kept, gr.EventData(None, told))[0]
    assert kept["photograph"] == "0.png" and Image.open(folder / "0.png").size == (140, 100)
    (item,) = Trash(desk.workspace).items()
    restored = Trash(desk.workspace).restore(item.id)
    assert Image.open(restored).size == (300, 200)


@pytest.mark.parametrize(
    "box", [None, [1, 2, 3], [0, 0, 10, 10], ["a", 0, 1, 1], [0, 0, 1e9, float("nan")], [True] * 4]
)
def test_what_is_no_box_is_refused_in_words(screen: Screen, box: Any) -> None:
    with pytest.raises(InputError):
        picture_editor.crop(screen.desk, gr.EventData(None, {"concept": "mug", "name": "0.png", "box": box}))


def test_a_mask_has_the_size_of_its_photograph_however_it_was_painted(screen: Screen) -> None:
    desk = screen.desk
    small = Image.new("L", (32, 32))
    small.paste(255, (8, 8, 24, 24))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    told = {"concept": "mug", "name": "0.png", "path": str(sent(desk, "mask.png", buffer.getvalue()))}
    assert picture_editor.save_mask(desk, gr.EventData(None, told)) == ("mug", "0.png")
    photograph = load_concept(desk.workspace.concepts / "mug").photographs[0]
    assert photograph.mask is not None and photograph.mask.shape == (64, 64)
    assert float(photograph.mask[32, 32]) == 1 and float(photograph.mask[0, 0]) == 0
    assert picture_editor.edited(desk, "mug", "0.png")[2]["mask"]
    assert picture_editor.remove_mask(desk, gr.EventData(None, told)) == ("mug", "0.png")
    assert load_concept(desk.workspace.concepts / "mug").photographs[0].mask is None
    assert [item.what for item in Trash(desk.workspace).items()] == ["mask"]


def test_a_photograph_is_removed_with_mask_and_caption_and_brought_back(screen: Screen) -> None:
    desk, kept = screen.desk, {**STATE, "concept": "mug", "photograph": "0.png"}
    set_mask(desk.workspace, "mug", "0.png", Image.new("L", (64, 64), 255))
    before = sorted(path.name for path in (desk.workspace.concepts / "mug").iterdir())
    kept = screen.do("remove", kept)[0]
    assert kept["photograph"] is None and kept["undo"]["name"] == "0.png"
    assert [row["name"] for row in concepts.captioned(desk, "mug")["rows"]] == ["1.png"]
    kept = screen.do("bring_back", kept)[0]
    assert kept == {"concept": "mug", "photograph": "0.png", "undo": None}
    assert sorted(path.name for path in (desk.workspace.concepts / "mug").iterdir()) == before


def test_a_deleted_concept_comes_back(screen: Screen) -> None:
    kept = screen.do("throw_away", {**STATE, "concept": "mug"})[1]
    assert not (screen.desk.workspace.concepts / "mug").exists() and kept["undo"]["name"] == "mug"
    kept = screen.do("bring_back", kept)[0]
    assert kept["concept"] == "mug" and load_concept(screen.desk.workspace.concepts / "mug")


def test_things_come_back_in_a_workspace_named_by_a_relative_path(
    stage: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = with_workspace(stage, Path("."))
    kept = screen.do("throw_away", {**STATE, "concept": "mug"})[1]
    assert screen.do("bring_back", kept)[0] == {"concept": "mug", "photograph": None, "undo": None}
    kept = screen.do("remove", {**STATE, "concept": "mug", "photograph": "0.png"})[0]
    assert screen.do("bring_back", kept)[0] == {"concept": "mug", "photograph": "0.png", "undo": None}


def test_a_concept_keeps_its_name_while_its_training_waits(desk: Desk) -> None:
    write_concept(desk.workspace.concepts / "mug", "mug", 1)
    (concept,) = [one for one in concepts.list_concepts(desk.workspace) if one.folder == "mug"]
    loaded = load_concept(desk.workspace.concepts / "mug")
    desk.submit(lambda store: train_spec(store, desk.workspace, desk.studio.config, [loaded]))
    with pytest.raises(InputError, match=r"mug is in a training that has not ended.*; wait for it, or cancel"):
        concept_words.save(desk, concept, "cup", "<mug>", "cup", "")
    assert concept_words.save(desk, concept, "mug", "<mug>", "mug", "white") == "mug", "other words may change"


def test_draw_with_a_concept_ticks_its_adapter_file(screen: Screen) -> None:
    assert screen.do("to_create", {**STATE, "concept": "mug"})[0] == ["mug.safetensors"]


def test_samples_that_are_there_are_not_told_and_what_stands_in_their_way_is(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda words, **_: said.append(words))
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    screen.do("put_samples_back", dict(STATE))
    said.clear()
    screen.do("put_samples_back", dict(STATE))
    assert said == ["All of them are there."]
    workspace, first, second = screen.desk.workspace, SAMPLES[0], SAMPLES[1]
    (workspace.adapters / f"{first}.safetensors").write_bytes(b"another")
    next((workspace.concepts / second).glob("*.png")).write_bytes(b"another")
    said.clear()
    screen.do("put_samples_back", dict(STATE))
    assert len(said) == 2 and f"adapter of {first}" in said[0] and f"{second}: " in said[1]
    assert "not the sample" in said[1] and str(workspace.root) not in "".join(said)


def test_the_samples_come_back_each_time(screen: Screen) -> None:
    screen.do("put_samples_back", dict(STATE))
    folders = {item["folder"] for item in concepts.concepts(screen.desk)}
    assert folders == {"mug", *SAMPLES}
    heading = screen.do("pick", dict(STATE), told={"folder": SAMPLES[0]})[5]
    assert SAMPLES[0] in heading and "as a toy" not in heading


def test_what_is_gone_makes_room_for_another(screen: Screen) -> None:
    shown = screen.do("refresh", {"concept": "gone", "photograph": "x", "undo": None})
    assert shown[0] == {"concept": "mug", "photograph": None, "undo": None}
    screen.do("throw_away", {**STATE, "concept": "mug"})
    assert screen.do("refresh", dict(STATE))[0]["concept"] is None


# Programs, and whoever makes events up.


def test_programs_list_concepts_and_add_photographs(screen: Screen) -> None:
    path = sent(screen.desk, "a.png", picture(9))
    told = add_photographs_to(screen.desk, "new cup", [{"path": str(path)}, {"path": str(sent(screen.desk, "b", b""))}])
    assert [one["stored"] for one in told] == ["00.png", None] and told[1]["refused"]
    assert [(one["folder"], one["count"]) for one in concepts.concepts(screen.desk)] == [("mug", 2), ("new-cup", 1)]
    for wrong in ([], [None], "x", [{"path": "/etc/passwd"}]):
        with pytest.raises(InputError):
            add_photographs_to(screen.desk, "mug", wrong)  # pyright: ignore[reportArgumentType]


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("mug") | st.just("0.png")
)
KEYS = st.sampled_from(["concept", "name", "folder", "text", "box", "path", "files", "failed", "file", "id", "index"])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
_SHARED: dict[Any, Screen] = {}


def screen_for_laws(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Screen:
    if build not in _SHARED:
        studio = studio_in(tmp_path_factory.mktemp("forged") / "work")
        write_concept(studio.root.concepts / "mug", "mug", 1)
        _SHARED[build] = screen_of(studio, build)
    return _SHARED[build]


@pytest.mark.parametrize("build", [concepts.build, files.build])
@given(told=ANYTHING)
def test_events_that_anybody_made_up_are_answered_in_words(
    build: Any, told: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    screen = screen_for_laws(build, tmp_path_factory)
    state = {**STATE, "file": None}
    heard, said = 0, []
    for held in screen.blocks.fns.values():
        parameters = list(held.fn.__signature__.parameters.values()) if held.fn else []
        if not any(parameter.annotation is gr.EventData for parameter in parameters):
            continue
        values = [
            gr.EventData(None, told)
            if parameter.annotation is gr.EventData
            else state
            if parameter.name == "kept"
            else 0
            if parameter.name == "resting"
            else parameter.default
            if parameter.default is not parameter.empty
            else []
            for parameter in parameters[1:]
        ]
        assert held.fn is not None
        try:
            held.fn(gr.Request(), *values)
        except gr.Error as error:
            said.append(str(error.message))
        heard += 1
    assert heard >= 3 and not [words for words in said if "fault of ours" in words]
