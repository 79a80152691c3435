from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.uploads import OFFER_LIMIT, read_offer, uploaded
from tests.studio.desks import desk_in, desks_in
from tests.studio.screens import picture, sent


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path / "work") as desk:
        yield desk


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
    with desks_in(tmp_path / "work") as (ada, ben):
        path = str(sent(ada, "mine.png", picture(1)))
        ada.studio.grants.allow("ada", path)
        assert uploaded(ada, path) == Path(path)
        with pytest.raises(InputError, match="cannot be found"):
            read_offer(ben, gr.EventData(None, {"files": [{"path": path}]}))


def test_more_files_than_agreed_are_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match=f"{OFFER_LIMIT + 1} files"):
        read_offer(desk, gr.EventData(None, {"files": [{"path": "x"}] * (OFFER_LIMIT + 1)}))
