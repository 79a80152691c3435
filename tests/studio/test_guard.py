"""What the guard promises, over HTTP: to nobody, to a user about another's things, and to pages of strangers.

The battery runs against every page of `PAGES`; what needs certain events runs against the small one.
"""

import json
import re
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

from spectral_diffusion.studio.guard import demands
from spectral_diffusion.studio.guard.doors import JSON_LIMIT_BYTES, UPLOAD_LIMIT_BYTES
from spectral_diffusion.studio.guard.grants import FILE_ROUTE
from spectral_diffusion.studio.guard.guard import Guard
from spectral_diffusion.studio.guard.sessions import COOKIE
from tests.studio.serving import (
    Served,
    every_route,
    join,
    outcome,
    raw,
    served,
    uploaded,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MORE_PATHS = (
    "/docs", "/redoc", "/openapi.json", "/gradio_api/openapi.json", "/gradio_api/mcp", "/gradio_api/mcp/sse",
    "/gradio_api/mcp/http", "/mcp", "/ws", "/queue/join", "/file=/etc/passwd", "/file/etc/passwd", "/upload",
    "//gradio_api/info", "/gradio_api//config", "/./config", "/static/../config", "/assets/..%2fconfig", "/LOGIN",
    "/login/", "/login/x", "/login%00", "/%2e%2e/etc/passwd", "/gradio_api/run-history/records",
    "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/file=http://127.0.0.1/", "/gradio_api/dev/reload",
)  # fmt: skip
OPEN = {
    ("GET", "/"), ("HEAD", "/"), ("GET", "/login"), ("HEAD", "/login"), ("POST", "/login"), ("POST", "/logout"),
    ("GET", "/config"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/app_id"),
    ("GET", "/svelte/{path:path}"), ("GET", "/static/{path:path}"),
    ("GET", "/assets/{path:path}"), ("GET", "/favicon.ico"), ("GET", "/theme.css"), ("GET", "/manifest.json"),
    ("GET", "/gradio_api/file={path:path}"), ("HEAD", "/gradio_api/file={path:path}"),
    ("GET", "/gradio_api/file={path_or_url:path}"), ("HEAD", "/gradio_api/file={path_or_url:path}"),
    ("GET", "/gradio_api/heartbeat/{session_hash}"), ("POST", "/gradio_api/run/{api_name}"),
    ("POST", "/gradio_api/queue/join"), ("GET", "/gradio_api/queue/data"), ("POST", "/gradio_api/cancel"),
    ("POST", "/gradio_api/reset"), ("POST", "/gradio_api/upload"), ("GET", "/gradio_api/upload_progress"),
    ("POST", "/gradio_api/component_server"),
}  # fmt: skip


def filled(template: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", template)


def test_whoever_has_not_logged_in_gets_the_login_page_and_nothing_else(anywhere: Served) -> None:
    nobody = anywhere.client()
    paths = {filled(path) for _, path in every_route(anywhere.app.app)} | set(MORE_PATHS)
    assert len(paths) > 60
    for path in sorted(paths):
        for method in METHODS:
            answer = nobody.request(method, path, headers={"Accept": "text/html"})
            if answer.request.url.path == "/login" and method in ("GET", "HEAD"):
                assert answer.status_code == 200
            elif (method, path) == ("POST", "/login"):
                assert answer.status_code == 400
            elif path == "/" and method in ("GET", "HEAD"):
                assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            else:
                assert answer.status_code == 401, (method, path, answer.text)
            assert "gradio_config" not in answer.text and str(anywhere.grants.folder) not in answer.text


def test_only_routes_that_the_page_needs_are_open(anywhere: Served) -> None:
    ada = anywhere.client("ada")
    for method, template in sorted(set(every_route(anywhere.app.app))):
        if (method, template) in OPEN:
            assert anywhere.app.doors.find(method, filled(template)), template
        else:
            answer = ada.request(method, filled(template))
            assert answer.status_code == 404, template
            assert method == "HEAD" or answer.json() == {"detail": "There is nothing here."}, template


def test_what_is_forged_never_trips_the_studio(anywhere: Served, caplog: pytest.LogCaptureFixture) -> None:
    ada = anywhere.client("ada")
    for number in (-1, 10**9, "0", True, None, 0.0, [0], {"a": 1}):
        for path in ("queue/join", "run/predict", "cancel"):
            body = {"data": [], "fn_index": number, "session_hash": "forged", "event_id": None}
            answer = ada.post(f"/gradio_api/{path}", json=body)
            assert answer.status_code == 404, (path, number, answer.text)
    assert not caplog.records


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil", "127.0.0.2", "[::2]", "", "a b",
     "user@localhost", "localhost:99999999", "localhost/x", "0x7f.1", "10.0.0.1"],
)  # fmt: skip
def test_the_studio_answers_by_its_own_names_only(anywhere: Served, host: str) -> None:
    nobody = anywhere.client()
    for path in ("/", "/login", "/config", "/assets/x"):
        answer = nobody.get(path, headers={"Host": host})
        assert answer.status_code in (400, 421), answer.text
        assert "form" not in answer.text


def test_two_names_at_once_are_none(anywhere: Served) -> None:
    for names in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        answer = raw(anywhere, b"GET /login HTTP/1.1\r\n" + names + b"Connection: close\r\n\r\n")
        assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost."])
def test_all_names_of_this_machine_are_answered(anywhere: Served, name: str) -> None:
    nobody = anywhere.client()
    for host in (name, f"{name}:{anywhere.port}", f"{name}:80"):
        assert nobody.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:{port}", "https://127.0.0.1",
     "http://127.0.0.1:{port}.evil.example", "file://", "http://127.0.0.1:{port}/", "chrome-extension://abc", ""],
)  # fmt: skip
def test_pages_of_others_cannot_use_the_studio(anywhere: Served, origin: str) -> None:
    ada = anywhere.client("ada")
    headers = {"Origin": origin.format(port=anywhere.port)}
    for method, path in [("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/upload"), ("POST", "/logout"),
                         ("POST", "/login"), ("GET", "/"), ("GET", "/config")]:  # fmt: skip
        answer = ada.request(method, path, headers=headers)
        assert answer.status_code == 403, (method, path)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert ada.get("/config").status_code == 200


def test_the_browser_says_when_a_page_of_another_asks(anywhere: Served) -> None:
    ada = anywhere.client("ada")
    link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for site in ("cross-site", "same-site", "sideways"):
        assert ada.get("/config", headers={"Sec-Fetch-Site": site}).status_code == 403
        assert ada.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
        framed = {**link, "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": site}
        assert ada.get("/", headers=framed).status_code == 403
        assert ada.get("/", headers={**link, "Sec-Fetch-Site": site}).status_code == 200
        assert ada.post("/logout", headers={**link, "Sec-Fetch-Site": site}).status_code == 403
    for site in ("same-origin", "none"):
        assert ada.get("/config", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_every_answer_tells_the_browser_what_not_to_do(anywhere: Served) -> None:
    ada, nobody = anywhere.client("ada"), anywhere.client()
    answers = [
        ada.get("/"), ada.get("/config"), ada.get("/theme.css"), ada.get("/x"), ada.get(FILE_ROUTE + uploaded(ada)),
        ada.get(FILE_ROUTE + "/etc/passwd"), ada.post("/gradio_api/queue/join", content=b"{"), ada.get("/login"),
        nobody.get("/"), nobody.get("/login"), nobody.post("/login", data={"name": "ada", "password": "guess"}),
        nobody.get("/login", headers={"Host": "evil"}), nobody.get("/config"),
        nobody.post("/login", headers={"Origin": "http://evil"}),
    ]  # fmt: skip
    for answer in answers:
        where = (answer.status_code, answer.url)
        assert answer.headers["x-content-type-options"] == "nosniff", where
        assert answer.headers["x-frame-options"] == "DENY", where
        assert answer.headers["referrer-policy"] == "same-origin", where
        assert answer.headers["cross-origin-opener-policy"] == "same-origin", where
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", where
        assert "camera=()" in answer.headers["permissions-policy"], where
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and re.match("default-src '(self|none)'", policy), where
        assert "http" not in policy and "*" not in policy, where
        assert re.match("private|no-store", answer.headers["cache-control"]), where
        assert "server" not in answer.headers and not re.search("gradio|uvicorn", str(answer.headers)), where
        assert all(answer.headers.get_list(name, split_commas=False)[1:] == [] for name in answer.headers), where


def test_what_gradio_would_heed_but_no_page_sends_is_refused(studio: Served, ada: httpx.Client) -> None:
    greet = studio.number("greet")
    for more in ({"batched": True}, {"simple_format": True}, {"oauth_token": "x"}, {"data": None}, {"data": {"a": 1}}):
        body = {"fn_index": greet, "data": ["hi"], "session_hash": "odd", **more}
        assert ada.post("/gradio_api/queue/join", json=body).status_code == 400, more
    for page in ("", None, 7, "a" * 65, "a b", "../x", ["x"], "ü"):
        body = {"fn_index": greet, "data": ["hi"], "session_hash": page}
        assert ada.post("/gradio_api/queue/join", json=body).status_code == 400, page
    for query in ("", "?session_hash=", "?session_hash=a&session_hash=b", "?session_hash=a%2Fb", "?" + "a=1&" * 100):
        assert ada.get(f"/gradio_api/queue/data{query}").status_code == 400, query
    assert ada.get("/?deep_link=x").status_code == 404
    assert ada.get("/?page=x").status_code == 404


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":1}x', b"[" * 100_000, b'{"a":' * 100_000,
     b'{"data":[NaN]}', b'{"data":[Infinity]}',
     b'{"session_hash":"mine","session_hash":"adas-page"}', b"1" * 10_000, b'{"a":"\xed\xa0\x80"}',
     '{"fn_index":0}'.encode("utf-16"), b"\xef\xbb\xbf{}"],
)  # fmt: skip
def test_a_body_that_is_not_one_json_object_is_refused(
    studio: Served, ada: httpx.Client, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("queue/join", "run/greet", "cancel", "reset", "component_server"):
        headers = {"Content-Type": "application/json"}
        answer = ada.post(f"/gradio_api/{path}", content=content, headers=headers)
        assert answer.status_code in (400, 413), answer.text
    assert not caplog.records


def test_large_bodies_are_refused_before_they_are_read(studio: Served, ada: httpx.Client) -> None:
    token = ada.cookies[COOKIE]

    def send(path: str, headers: str, body: bytes = b"", method: str = "POST") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {studio.host}\r\nCookie: {COOKIE}={token}\r\n{headers}\r\n\r\n"
        return raw(studio, head.encode() + body).split()[1]

    assert send("/gradio_api/queue/join", f"Content-Length: {JSON_LIMIT_BYTES + 1}") == b"413"
    assert send("/gradio_api/upload", f"Content-Length: {UPLOAD_LIMIT_BYTES + 1}") == b"413"
    assert send("/login", "Content-Length: 100000") == b"413"
    assert send("/gradio_api/queue/join", "Content-Length: -1") == b"400"
    assert send("/gradio_api/queue/join", "Content-Length: 99999999999999999999") in (b"400", b"413")
    assert send("/gradio_api/queue/join", "Content-Length: 2\r\nContent-Length: 3", b"{} ") == b"400"
    for path in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/component_server", "/login", "/logout"):
        assert send(path, "Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n") == b"411", path
        assert send(path, "Transfer-Encoding: chunked\r\nContent-Length: 2", b"2\r\n{}\r\n0\r\n\r\n") in (
            b"400",
            b"411",
        ), path
        assert send(path, "X-No-Length: 1") == b"411", path
    assert send("/config", "Content-Length: 1", b"x", "GET") == b"413"
    # As many bytes as were told and no more are the request's: what follows is another.
    assert send("/gradio_api/queue/join", "Content-Length: 2", b"{}" + b" " * 100) in (b"400", b"404")
    assert ada.get("/config").status_code == 200


def test_uploads_leave_room_on_the_disk(studio: Served, ada: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demands, "FREE_BYTES", 2**62)
    answer = ada.post("/gradio_api/upload", files={"files": ("a.txt", b"a")})
    assert answer.status_code == 507 and "space" in answer.text


def test_without_accounts_the_page_is_open_and_all_other_rules_hold(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=False) as studio:
        nobody = studio.client()
        assert "gradio_config" in nobody.get("/").text
        assert outcome(nobody, studio.number("greet"), ["hi"])["output"]["data"] == ["None: hi"]
        path = uploaded(nobody)
        assert nobody.get(FILE_ROUTE + path).status_code == 200
        assert nobody.get(FILE_ROUTE + "/etc/passwd").status_code == 403
        assert join(nobody, studio.number("size"), [{"path": "/etc/passwd"}]).status_code == 403
        assert nobody.get("/login").status_code == 404
        assert nobody.post("/login", data={"username": "a", "password": "b"}).status_code == 404
        assert nobody.post("/gradio_api/upload", headers={"Origin": "http://evil.example"}).status_code == 403
        assert nobody.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert nobody.get("/gradio_api/heartbeat/x", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_web_sockets_are_closed(studio: Served) -> None:
    key = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    head = f"GET / HTTP/1.1\r\nHost: {studio.host}\r\nOrigin: http://evil.example\r\n".encode()
    assert raw(studio, head + key).split()[1] == b"403"

    async def speak(app: Guard) -> list[dict]:
        told = []

        async def send(message: dict) -> None:
            told.append(message)

        await cast(Any, app)({"type": "websocket", "path": "/", "headers": []}, None, send)
        return told

    assert anyio.run(speak, studio.app) == [{"type": "websocket.close", "code": 1008}]


def test_what_a_proxy_says_counts_only_where_there_is_one(tmp_path: Path) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Gradio-Server": "http://evil.example"}
    for behind_proxy in (False, True):
        with served(tmp_path / str(behind_proxy), behind_proxy=behind_proxy) as studio:
            nobody = studio.client()
            answer = nobody.post("/login", data={"name": "ada", "password": "ada's password"}, headers=said)
            assert ("Secure" in answer.headers["set-cookie"]) == behind_proxy
            token = answer.cookies.get(COOKIE) or answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
            page = nobody.get("/", headers={**said, "Cookie": f"{COOKIE}={token}"}).text
            config = re.search(r"window\.gradio_config = (.*?);</script>", page)
            assert config and json.loads(config[1])["root"] == f"http{'s' if behind_proxy else ''}://{studio.host}"


def test_gradio_is_asked_to_keep_no_traces(studio: Served) -> None:
    config = studio.blocks.config
    assert studio.blocks.run_history is False and studio.blocks.analytics_enabled is False
    assert not studio.blocks.mcp_server and not studio.blocks.share and not studio.blocks.enable_monitoring
    assert config["footer_links"] == [] and studio.blocks.show_error is False
    assert studio.app.demands.server_functions == {"accept_blobs"}
