"""Pictures are judged from the header and read rightly."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from spectral_diffusion.errors import InputError
from spectral_diffusion.images import contact_sheet, read_image, read_mask, read_png_text, save_png, to_image, to_tensor


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_sixteen_bit_grey_keeps_its_full_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    read = np.asarray(read_image(saved(Image.fromarray(ramp), tmp_path / "deep.png")))[..., 0]
    assert np.array_equal(read, (ramp >> 8).astype(np.uint8))


def test_cmyk_is_read_as_the_colour_it_prints(tmp_path: Path) -> None:
    path = saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), tmp_path / "print.jpg")
    red, green, blue = read_image(path).getpixel((5, 5))
    assert red > 200
    assert green < 60
    assert blue < 60


def test_camera_orientation_is_applied_and_metadata_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    read = read_image(saved(Image.new("RGB", (64, 32)), tmp_path / "turned.jpg", exif=exif))
    assert read.size == (32, 64)
    assert not read.getexif()
    assert not read.info


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert read_image(saved(clear, tmp_path / "clear.png")).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    path = saved(palette, tmp_path / "palette.png", transparency=0)
    assert read_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_an_embedded_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(Image.new("RGB", (32, 32), (10, 120, 230)), tmp_path / "profile.png", icc_profile=profile)
    assert read_image(path).getpixel((3, 3)) == (10, 120, 230)


def test_a_broken_profile_does_not_spoil_the_picture(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (32, 32), (10, 120, 230)), tmp_path / "broken.png", icc_profile=b"not a profile")
    assert read_image(path).getpixel((3, 3)) == (10, 120, 230)


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    source = saved(Image.new("RGB", (32, 32), "blue"), tmp_path / "a.png")
    renamed = tmp_path / "a.jpg"
    source.rename(renamed)
    assert read_image(renamed).getpixel((0, 0)) == (0, 0, 255)


def write_text(path: Path) -> None:
    path.write_text("this is not a picture")


def write_animation(path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(path, format="WEBP", save_all=True, append_images=frames[1:])


def write_truncated(path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    ("name", "write", "word"),
    [
        ("text.png", write_text, "not a PNG"),
        ("svg.png", lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG"),
        ("phone.png", lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 32), "HEIC"),
        ("moving.webp", write_animation, "animation of 2 frames"),
        ("one.png", lambda path: Image.new("RGB", (1, 1)).save(path), "only 1 x 1"),
        ("bomb.png", lambda path: Image.new("1", (14000, 14000)).save(path), "100 megapixels"),
        ("large.png", lambda path: Image.new("1", (12000, 10000)).save(path), "12000 x 10000"),
        ("cut.png", write_truncated, "damaged"),
        ("folder.png", lambda path: path.mkdir(), "folder"),
        ("missing.png", lambda path: None, "there is no file"),
        ("empty.png", lambda path: path.touch(), "not a PNG"),
    ],
)
def test_what_is_not_a_usable_picture_is_refused_by_name(tmp_path: Path, name: str, write: object, word: str) -> None:
    path = tmp_path / name
    write(path)  # type: ignore[operator]
    with pytest.raises(InputError, match=word) as refusal:
        read_image(path)
    assert str(path) in refusal.value.what
    assert refusal.value.remedy


def test_a_mask_must_fit_its_photograph_and_hold_something(tmp_path: Path) -> None:
    white = saved(Image.new("L", (40, 30), 255), tmp_path / "white.png")
    assert float(read_mask(white, (40, 30)).min()) == 1
    with pytest.raises(InputError, match="40 x 30"):
        read_mask(white, (30, 40))
    with pytest.raises(InputError, match="empty"):
        read_mask(saved(Image.new("L", (40, 30), 0), tmp_path / "black.png"), (40, 30))


def test_tensor_and_image_are_inverse() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(to_image(to_tensor(Image.fromarray(pixels)))), pixels)


def test_png_text_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "picture.png"
    save_png(Image.new("RGB", (16, 16)), path, {"spectral_diffusion": '{"prompt": "Tür \u2603"}'})
    assert read_png_text(path)["spectral_diffusion"] == '{"prompt": "Tür \u2603"}'
    jpeg = saved(Image.new("RGB", (16, 16)), tmp_path / "a.jpg")
    with pytest.raises(InputError, match="JPEG"):
        read_png_text(jpeg)


def test_a_contact_sheet_holds_every_picture_at_its_place() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    sheet = contact_sheet([[red, blue], [blue]], scale=2, gap_px=2)
    assert sheet.getpixel((4, 4)) == (255, 0, 0)
    assert sheet.getpixel((2 + 16 + 2 + 4, 4)) == (0, 0, 255)
    assert sheet.getpixel((4, 2 + 16 + 2 + 4)) == (0, 0, 255)


def test_a_phone_photograph_with_a_preview_behind_it_is_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (64, 48), "red").save(
        path, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48), "blue")]
    )
    red, _, blue = read_image(path).getpixel((9, 9))
    assert red > 200
    assert blue < 60
