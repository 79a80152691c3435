import io

import gradio as gr
import pytest
from PIL import ExifTags, Image

from spectral_diffusion.studio import concepts
from spectral_diffusion.studio.added_photographs import add_offer
from spectral_diffusion.studio.parts.upload_results import Outcome, outcomes
from spectral_diffusion.studio.parts.uploads import Offer, Upload
from tests.command_line import write_concept
from tests.studio.screens import STATE, Screen, offer_of, picture, sent, zipped


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
    # A zip holds the time at which it was made, and every process must collect the same tests.
    ids=lambda value: value if isinstance(value, str) else "content",
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
    said, with_new_words = screen.do("take", kept, gr.EventData(None, told), gr.Progress())
    assert "1 photograph stored, 1 refused" in said and with_new_words is None
    kept, *shown = screen.do("refresh", kept, with_new_words)
    assert kept["concept"] == "mug"
    assert [value["about"] for value in shown if isinstance(value, dict) and "about" in value] == ["mug"]
    rows = next(value["rows"] for value in shown if isinstance(value, dict) and "rows" in value)
    assert {row["name"] for row in rows} == {"0.png", "1.png", "02.png"}
    assert all(row["verdict"] for row in rows)


def test_photographs_go_to_the_concept_they_were_dropped_on_whatever_is_looked_at_since(screen: Screen) -> None:
    desk = screen.desk
    write_concept(desk.workspace.concepts / "cup", "cup", 2)
    before = {row["name"] for row in concepts.captioned(desk, "cup")["rows"]}
    told = {"files": [{"path": str(sent(desk, "new.png", picture(7, (200, 200))))}], "failed": [], "about": "mug"}
    answer = screen.do("take", {**STATE, "concept": "cup"}, gr.EventData(None, told), gr.Progress())
    assert len(answer) == 2, "an answer that comes late changes nothing of what is looked at"
    assert {row["name"] for row in concepts.captioned(desk, "cup")["rows"]} == before
    assert "02.png" in {row["name"] for row in concepts.captioned(desk, "mug")["rows"]}
    for forged in (None, "gone", "../mug", ["mug"], {}):
        with pytest.raises(gr.Error, match="no concept"):
            screen.do("take", dict(STATE), gr.EventData(None, {**told, "about": forged}), gr.Progress())


def test_words_that_come_with_photographs_are_shown_and_words_being_written_stay(screen: Screen) -> None:
    desk = screen.desk
    folder = {"concept__toml": b'token = "<tea>"\nclass_word = "mug"\n', "new__png": picture(8)}
    told = {
        "files": [{"path": str(sent(desk, name.replace("__", "."), content))} for name, content in folder.items()],
        "failed": [],
        "about": "mug",
    }
    (desk.workspace.concepts / "mug" / "concept.toml").unlink(missing_ok=True)
    kept = {**STATE, "concept": "mug"}
    _, with_new_words = screen.do("take", kept, gr.EventData(None, told), gr.Progress())
    assert with_new_words == "mug" and "<tea>" in screen.do("refresh", kept, with_new_words)
    assert "<tea>" not in screen.do("refresh", kept, None)
