"""Laws of the folder that Gradio writes to: one's own, private, swept, and gone at the end."""

import os
import stat
import time
from pathlib import Path

import pytest
from filelock import FileLock

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard.cache import KEPT_SECONDS, UNFINISHED_SECONDS, private_cache, sweep


def test_the_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    before = os.environ.get("GRADIO_TEMP_DIR")
    with private_cache(tmp_path / "cache") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder) == os.path.realpath(folder)
        (folder / "hash").mkdir()
        (folder / "hash" / "a.png").write_bytes(b"a")
        with private_cache(tmp_path / "cache") as other:
            assert other != folder
        assert (folder / "hash" / "a.png").exists() and os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert not folder.exists() and os.environ.get("GRADIO_TEMP_DIR") == before


def test_what_a_killed_studio_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    abandoned, used, foreign = (tmp_path / name for name in ("run-dead", "run-used", "photographs"))
    for folder in (abandoned, used, foreign):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"a")
        (folder / ".lock").touch()
    with FileLock(used / ".lock"), private_cache(tmp_path):
        assert not abandoned.exists() and (used / "a.png").exists() and (foreign / "a.png").exists()


def test_what_nobody_looks_at_any_more_is_swept(tmp_path: Path) -> None:
    (tmp_path / "hash").mkdir()
    shown, partial, lock = tmp_path / "hash" / "a.png", tmp_path / "tmpupload", tmp_path / ".lock"
    for path in (shown, partial, lock):
        path.write_bytes(b"a")
        # A copy keeps the time of its original, which may be years ago.
        os.utime(path, (0, 0))
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path, time.time() + UNFINISHED_SECONDS + 60) == 1 and not partial.exists() and shown.exists()
    assert sweep(tmp_path, time.time() + KEPT_SECONDS + 60) == 1 and not shown.parent.exists() and lock.exists()


def test_sweeping_follows_no_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"a")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "link").symlink_to(outside)
    sweep(cache, time.time() + 10 * KEPT_SECONDS)
    assert (outside / "a.png").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="SPECTRAL_DIFFUSION_CACHE"), private_cache(tmp_path / "file" / "cache"):
        pass
