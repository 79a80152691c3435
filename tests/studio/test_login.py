"""Laws of logging in: no script, no way out to other sites, no hurry for whoever guesses."""

import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from spectral_diffusion.studio.guard import login as module
from spectral_diffusion.studio.guard.accounts import Accounts
from spectral_diffusion.studio.guard.sessions import COOKIE
from spectral_diffusion.studio.guard.throttle import FREE_TRIES_A_NAME, Throttle
from tests.studio.serving import PASSWORDS, Served, served
from tests.studio.test_sessions import Clock


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("door"), throttle=Throttle(clock)) as studio:
        yield studio


@pytest.fixture
def nobody(door: Served, clock: Clock) -> httpx.Client:
    clock.now += 10_000
    return door.client()


def tried(client: httpx.Client, name: str = "ada", password: str = "guess", **more: str) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password, **more})


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_script_and_loads_nothing(nobody: httpx.Client) -> None:
    answer = nobody.get("/login")
    tags = Tags(answer.text).found
    assert not {"script", "img", "iframe", "object", "base"} & {tag for tag, _ in tags}
    assert [attributes["href"] for tag, attributes in tags if tag == "link"] == ["data:,"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "form-action 'self'" in policy
    assert not re.search(r"https?:|url\(|@import| on[a-z]+=", answer.text)


def test_every_field_has_a_label_and_the_first_empty_one_the_cursor(nobody: httpx.Client) -> None:
    for answer, focused in ((nobody.get("/login"), "name"), (tried(nobody), "password")):
        tags = Tags(answer.text).found
        labels = {attributes.get("for") for tag, attributes in tags if tag == "label"}
        inputs = [attributes for tag, attributes in tags if tag == "input" and attributes.get("type") != "hidden"]
        assert {attributes["id"] for attributes in inputs} == labels == {"name", "password"}
        assert [attributes["id"] for attributes in inputs if "autofocus" in attributes] == [focused]
        assert not [attributes for attributes in inputs if attributes["id"] == "password" and "value" in attributes]
        assert ("html", {"lang": "en"}) in tags and any(attributes.get("name") == "viewport" for _, attributes in tags)


def test_logging_in_and_out(door: Served, nobody: httpx.Client) -> None:
    answer = tried(nobody, password=PASSWORDS["ada"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/")) and "domain" not in cookie
    assert "gradio_config" in nobody.get("/").text
    assert nobody.get("/login", params={"next": "/"}).headers["location"] == "/"
    token = nobody.cookies[COOKIE]
    answer = nobody.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert COOKIE not in nobody.cookies
    nobody.cookies.set(COOKIE, token)
    assert nobody.get("/config").status_code == 401
    assert nobody.get("/logout").status_code in (401, 404)


def test_a_new_session_does_not_take_the_place_of_a_token_from_outside(nobody: httpx.Client) -> None:
    nobody.cookies.set(COOKIE, "fixed-by-somebody", domain="127.0.0.1")
    answer = tried(nobody, password=PASSWORDS["ada"])
    assert "fixed-by-somebody" not in answer.headers["set-cookie"]
    assert nobody.get("/config", headers={"Cookie": f"{COOKIE}=fixed-by-somebody"}).status_code == 401


def test_the_right_cookie_counts_among_those_that_others_added(door: Served) -> None:
    token = door.client("ada").cookies[COOKIE]
    for cookie in (f"a=b; {COOKIE}=x; {COOKIE}={token}", f"{COOKIE}={token};; ;=;{COOKIE}", f"{COOKIE}={token}"):
        assert door.client().get("/config", headers={"Cookie": cookie}).status_code == 200
    assert door.client().get("/config", headers={"Cookie": f"x{COOKIE}={token}; {COOKIE} ={token}x"}).status_code == 401


@pytest.mark.parametrize(
    "following",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/%2fevil.example", "/.evil",
     "/a/b", "javascript:alert(1)", "/login", "/logout", "/\t/evil.example", "/x\r\nSet-Cookie: a=b", "",
     "x" * 5000, "/@evil"],
)  # fmt: skip
def test_after_the_log_in_nobody_is_led_to_another_site(nobody: httpx.Client, following: str) -> None:
    page = nobody.get("/login", params={"next": following})
    assert {"type": "hidden", "name": "next", "value": "/"} in [attributes for _, attributes in Tags(page.text).found]
    answer = tried(nobody, password=PASSWORDS["ada"], next=following)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert tried(nobody, password=PASSWORDS["ada"], next="/gallery").headers["location"] == "/gallery"


def test_what_was_typed_is_text_in_the_page(nobody: httpx.Client) -> None:
    answer = tried(nobody, name='"><script>alert(1)</script>', next='"><script>')
    assert answer.status_code == 401 and "<script" not in answer.text


def test_bad_log_ins_are_told_alike_and_wait(door: Served, nobody: httpx.Client, clock: Clock) -> None:
    answers = [tried(nobody, name=name) for name in ("ada", "nobody-of-that-name")]
    assert len({answer.text.replace("nobody-of-that-name", "ada") for answer in answers}) == 1
    assert all(answer.status_code == 401 and 'role="alert"' in answer.text for answer in answers)
    for _ in range(FREE_TRIES_A_NAME - 1):
        assert tried(nobody).status_code == 401
    answer = tried(nobody, password=PASSWORDS["ada"])
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Wait 1 second and try again" in answer.text and "set-cookie" not in answer.headers
    clock.now += 1
    assert tried(nobody, password=PASSWORDS["ada"]).status_code == 303


def test_many_tries_at_once_are_no_way_round(door: Served, nobody: httpx.Client) -> None:
    codes: list[int] = []
    clients = [door.client() for _ in range(12)]
    threads = [threading.Thread(target=lambda one=one: codes.append(tried(one).status_code)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [401] * FREE_TRIES_A_NAME + [429] * (12 - FREE_TRIES_A_NAME)


def test_hashing_holds_nothing_else_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, running, most = threading.Event(), [], []

    def verify(self: Accounts, name: str, password: str) -> None:
        running.append(name)
        most.append(len(running))
        held.wait(20)
        running.remove(name)

    monkeypatch.setattr(Accounts, "verify", verify)
    monkeypatch.setattr(module, "HASHES_WAITING", 3)
    with served(tmp_path) as studio:
        codes: list[int] = []

        def guess(number: int) -> None:
            codes.append(tried(studio.client(), name=f"n{number}").status_code)

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert studio.client().get("/login").status_code == 200
        refused = 8 - module.HASHED_AT_ONCE - 3
        until = time.monotonic() + 15
        while len(codes) < refused and time.monotonic() < until:
            time.sleep(0.05)
        held.set()
        for thread in threads:
            thread.join()
    assert max(most) == module.HASHED_AT_ONCE
    assert codes.count(503) == refused and codes.count(401) == module.HASHED_AT_ONCE + 3


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b'{"name":"ada"}'), ("multipart/form-data; boundary=x", b"--x--"),
        ("text/plain", b"name=a"),
        ("application/x-www-form-urlencoded", b"name=a&name=b"), ("application/x-www-form-urlencoded", b"a=1&" * 100),
        ("application/x-www-form-urlencoded", b"\xff\xfe"), ("application/x-www-form-urlencoded", b"name=%ff"),
        ("", b""),
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(nobody: httpx.Client, kind: str, content: bytes) -> None:
    assert nobody.post("/login", content=content, headers={"Content-Type": kind}).status_code == 400


def test_an_empty_form_is_a_bad_log_in(nobody: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert nobody.post("/login", content=b"", headers=headers).status_code == 401
    assert tried(nobody, name="a" * 4000, password="b" * 4000).status_code == 401
    assert tried(nobody, name="ada\0", password="\ud800".encode("utf-8", "replace").decode()).status_code == 401


def test_a_bad_log_in_is_noted_without_its_password(nobody: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    tried(nobody, name="ada\x1b[2J\nx", password="a secret that was mistyped")
    assert "a bad log-in as ada\\x1b[2J\\nx from 127.0.0.1" in caplog.text and "mistyped" not in caplog.text
