"""What a user can do to another's files, pages and events, over HTTP: nothing."""

import os
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from spectral_diffusion.studio.guard import accounts
from spectral_diffusion.studio.guard.grants import FILE_ROUTE
from tests.studio.serving import Served, file_data, join, outcome, served, uploaded


def test_answers_that_are_somebodys_are_not_kept(studio: Served, ada: httpx.Client, note: str) -> None:
    assert ada.get("/").headers["cache-control"] == "no-store"
    assert ada.get("/config").headers["cache-control"] == "no-store"
    assert ada.get(FILE_ROUTE + note).headers["cache-control"] == "private, no-cache"


def test_a_user_sees_only_their_own_files(studio: Served, ada: httpx.Client, ben: httpx.Client, note: str) -> None:
    made = outcome(ada, studio.number("make"), [], "making")["output"]["data"][0]["path"]
    for path in (note, made):
        assert ada.get(FILE_ROUTE + quote(path)).status_code == 200
        for method in ("GET", "HEAD"):
            assert ben.request(method, FILE_ROUTE + quote(path)).status_code == 403
            assert studio.client().request(method, FILE_ROUTE + quote(path)).status_code == 401
        assert ben.get(FILE_ROUTE + quote(path), headers={"Range": "bytes=0-1"}).status_code == 403
    assert ada.get(FILE_ROUTE + quote(note)).content == b"ada's note"
    assert ada.get(FILE_ROUTE + quote(note), headers={"Range": "bytes=0-2"}).content == b"ada"


def test_no_spelling_of_a_path_leads_anywhere_else(
    studio: Served, ada: httpx.Client, ben: httpx.Client, note: str
) -> None:
    own = uploaded(ben, "ben.txt", b"ben's")
    folder, name = os.path.split(note)
    spellings = [
        note, f"{folder}/./{name}", f"{folder}//{name}", f"/{note}", f"{own}/../{os.path.relpath(note, own)}",
        f"{os.path.dirname(own)}/{os.path.relpath(note, os.path.dirname(own))}", f"file://{note}",
        f"/proc/self/root{note}",
        quote(note, safe=""), quote(quote(note, safe=""), safe=""), note.replace("/", "\\"), note.upper(), f"{note}\0",
        f"{note}/", f"{note}%00.png", note + "?x", os.path.relpath(note), "/etc/passwd", "../../../../etc/passwd",
        "..%2f..%2f..%2fetc/passwd", "/etc/hostname", "/proc/self/environ", "/dev/stdin", "http://127.0.0.1/x",
        "https://example.com/x", "//example.com/x", str(studio.accounts), str(studio.grants.folder),
        f"{studio.grants.folder}/.lock", "", ".", "~/.ssh/id_rsa", "C:\\Windows\\win.ini",
    ]  # fmt: skip
    for spelling in spellings:
        for written in (quote(spelling), quote(spelling, safe=""), quote(quote(spelling, safe=""), safe="")):
            for route in (FILE_ROUTE, "/gradio_api/file/"):
                answer = ben.get(route + written)
                assert answer.status_code in (403, 404), (route, written, answer.text)
    assert ben.get(FILE_ROUTE + quote(own)).content == b"ben's"


def test_links_in_the_folder_are_not_followed(studio: Served, ada: httpx.Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = studio.grants.folder / "link.txt"
    link.symlink_to(secret)
    inner = studio.grants.folder / "linked"
    inner.symlink_to(tmp_path)
    os.mkfifo(studio.grants.folder / "pipe")
    for path in (link, inner / "secret.txt", studio.grants.folder / "pipe", studio.grants.folder):
        assert ada.get(f"{FILE_ROUTE}{path}").status_code == 403
        studio.grants.allow("ada", str(path))
        assert ada.get(f"{FILE_ROUTE}{path}").status_code in (403, 404)


def test_an_event_may_name_own_files_only(studio: Served, ada: httpx.Client, ben: httpx.Client, note: str) -> None:
    size = studio.number("size")
    assert outcome(ada, size, [file_data(note)], "sizes")["output"]["data"] == [10]
    own = uploaded(ben, "ben.txt", b"ben's")
    hostile = [
        [file_data(note)], [{"path": note}], [note], [[note]], [{"a": {"b": [note]}}], [{note: 1}], [quote(note)],
        [quote(quote(note, safe=""), safe="")], [f"http://{studio.host}{FILE_ROUTE}{note}"],
        [f"{FILE_ROUTE}{quote(note)}"],
        [{**file_data(own), "url": FILE_ROUTE + note}], [{**file_data(own), "url": "https://example.com/x"}],
        [f"{own} {note}"], [f"<img src='{FILE_ROUTE}{note}'>"], [os.path.relpath(note)], [f"/tmp/..{note}"],
        [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], [{"path": "/etc/passwd"}],
        [{"path": ["/etc/passwd"]}],
        [{"path": "https://example.com/a.png", "meta": {"_type": "gradio.FileData"}}], [file_data(f"{own}/../x")],
        [{"path": str(studio.accounts), "meta": {"_type": "gradio.FileData"}, "is_stream": True}],
    ]  # fmt: skip
    for data in hostile:
        for path in ("queue/join", "run/size"):
            body = {"fn_index": size, "data": data, "session_hash": "bens"}
            answer = ben.post(f"/gradio_api/{path}", json=body)
            assert answer.status_code == 403, (data, answer.text)
        event_data = {"fn_index": size, "data": [None], "session_hash": "bens", "event_data": data}
        assert ben.post("/gradio_api/queue/join", json=event_data).status_code == 403, data
    assert outcome(ben, size, [file_data(own)], "bens")["output"]["data"] == [5]


def test_pages_and_events_of_a_user_are_closed_to_others(studio: Served, ada: httpx.Client, ben: httpx.Client) -> None:
    count = studio.number("count")
    assert outcome(ada, count, [None], "adas-page")["output"]["data"][1] == 1
    event = join(ada, studio.number("forever"), [], "adas-page").json()["event_id"]
    assert join(ben, count, [None], "adas-page").status_code == 403
    assert ben.get("/gradio_api/queue/data", params={"session_hash": "adas-page"}).status_code == 403
    assert ben.get("/gradio_api/heartbeat/adas-page").status_code == 403
    run = {"fn_index": count, "data": [None], "session_hash": "adas-page"}
    assert ben.post("/gradio_api/run/count", json=run).status_code == 403
    number = studio.number("forever")
    for page in ("adas-page", "bens-page"):
        body = {"session_hash": page, "fn_index": number, "event_id": event}
        assert ben.post("/gradio_api/cancel", json=body).status_code == 403
    assert ben.post("/gradio_api/reset", json={"event_id": event}).status_code == 403
    assert join(ben, count, [None], "bens-page", event_id=event).status_code == 403
    for call in ("call", "call/v2"):
        assert ben.get(f"/gradio_api/{call}/forever/{event}").status_code == 404
    body = {"session_hash": "adas-page", "fn_index": number, "event_id": event}
    assert ada.post("/gradio_api/cancel", json=body).json() == {"success": True}
    assert outcome(ada, count, [None], "adas-page")["output"]["data"][1] == 2


def test_drawings_of_a_user_are_closed_to_others(studio: Served, ada: httpx.Client, ben: httpx.Client) -> None:
    editor = next(number for number, block in studio.blocks.blocks.items() if hasattr(block, "accept_blobs"))
    fields = {"component_id": str(editor), "fn_name": "accept_blobs", "session_hash": "drawer", "type": "background"}

    def hand_over(client: httpx.Client, **more: str) -> int:
        form = {**fields, "id": "drawing1", "index": "null", **more}
        return client.post("/gradio_api/component_server", data=form, files={"file": ("a.png", b"png")}).status_code

    assert hand_over(ada) == 200
    assert hand_over(ben) == 403
    assert hand_over(ben, session_hash="bens-drawer") == 403
    assert hand_over(ben, session_hash="bens-drawer", id="drawing2") == 200
    assert join(ben, studio.number("greet"), [{"id": "drawing1"}], "bens-drawer").status_code == 403
    assert hand_over(ada, fn_name="postprocess") == 404
    assert hand_over(ada, fn_name="__class__") == 404
    assert hand_over(ada, component_id="-1") == 400
    plain = {"data": ["/"], "component_id": editor, "fn_name": "ls", "session_hash": "drawer"}
    assert ada.post("/gradio_api/component_server", json=plain).status_code == 404
    twice = b'--x\r\nContent-Disposition: form-data; name="session_hash"\r\n\r\ndrawer\r\n' * 2 + b"--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ben.post("/gradio_api/component_server", content=twice, headers=kind).status_code == 400


def test_nobody_can_say_who_they_are_but_by_logging_in(studio: Served, ben: httpx.Client) -> None:
    ben.headers.update(
        {"X-Gradio-User": "app", "X-Forwarded-User": "ada", "Remote-User": "ada", "Authorization": "ada"}
    )
    ben.cookies.set("access-token", "ada")
    body = {"username": "ada", "request": {"username": "ada"}, "user": "ada", "state": {"user": "ada"}}
    answer = join(ben, studio.number("secret"), [], "forger", **body)
    assert answer.status_code == 200
    assert outcome(ben, studio.number("greet"), ["hi"], "forger")["output"]["data"] == ["ben: hi"]
    assert outcome(ben, studio.number("secret"), [], "forger")["output"]["error"] == "not for you"
    direct = {"fn_index": studio.number("direct"), "data": ["hi"], "session_hash": "forger", **body}
    assert ben.post("/gradio_api/run/direct", json=direct).json()["data"] == ["ben: hi"]


@pytest.mark.parametrize(
    "name", ["../../x.txt", "..", "a/b.txt", "\\..\\x", "x" * 500 + ".png", "con", "é\u202e.png", ".htaccess"]
)
def test_an_upload_stays_in_its_folder_whatever_it_is_called(studio: Served, ada: httpx.Client, name: str) -> None:
    answer = ada.post("/gradio_api/upload", files={"files": (name, os.urandom(8))})
    assert answer.status_code in (200, 400), answer.text
    for path in answer.json() if answer.status_code == 200 else []:
        assert os.path.dirname(os.path.dirname(path)) == str(studio.grants.folder)
        assert ada.get(FILE_ROUTE + quote(path)).status_code == 200


@pytest.mark.parametrize(
    "name", ["page.html", "picture.svg", "page.xhtml", "script.js", "page.xml", "note.txt", "a.pdf", "none"]
)
def test_what_a_browser_could_run_is_saved_and_not_shown(studio: Served, ada: httpx.Client, name: str) -> None:
    path = uploaded(ada, name, b"<script>alert(1)</script>" + name.encode())
    answer = ada.get(FILE_ROUTE + path)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    # Passing through an event does not make it harmless, as it does in Gradio.
    outcome(ada, studio.number("size"), [file_data(path)], "harmless")
    assert ada.get(FILE_ROUTE + path).headers["content-type"] == "application/octet-stream"


def test_pictures_are_shown(ada: httpx.Client) -> None:
    answer = ada.get(FILE_ROUTE + uploaded(ada, "a.png", b"\x89PNG<script>"))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_whoever_is_removed_is_out_at_once_with_all_open_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as studio:
        assert studio.accounts
        ada, ben = studio.client("ada"), studio.client("ben")
        join(ada, studio.number("forever"), [], "long")
        with ada.stream("GET", "/gradio_api/queue/data", params={"session_hash": "long"}) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line)
            accounts.remove_account(studio.accounts, "ada")
            began = time.monotonic()
            assert sum(1 for _ in lines) < 100
            assert time.monotonic() - began < 10
        assert ada.get("/config").status_code == 401
        assert ada.post("/login", data={"name": "ada", "password": "ada's password"}).status_code == 401
        assert ben.get("/config").status_code == 200
        # Let in again, by another password, the old session stays closed.
        accounts.add_account(studio.accounts, "ada", "another password")
        assert ada.get("/config").status_code == 401
        studio.accounts.chmod(0o644)
        answer = ben.get("/config")
        assert answer.status_code == 503 and str(tmp_path) not in answer.text
        studio.accounts.chmod(0o600)
        assert ben.get("/config").status_code == 200
