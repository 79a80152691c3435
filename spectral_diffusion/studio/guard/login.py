"""Logging in and out: a page of our own that needs no script and loads nothing."""

import base64
import hashlib
import html
import logging
import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qs

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from spectral_diffusion.names import printable
from spectral_diffusion.studio.guard.accounts import Accounts
from spectral_diffusion.studio.guard.guard import cookies
from spectral_diffusion.studio.guard.refusal import Refusal
from spectral_diffusion.studio.guard.sessions import COOKIE, LONGEST_SECONDS, Sessions
from spectral_diffusion.studio.guard.throttle import Throttle

HASHED_AT_ONCE = 2
"""Each takes 64 MiB."""
HASHES_WAITING = 32
_LOG = logging.getLogger(__name__)
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
main { width: min(22rem, calc(100vw - 2rem)); padding: 1rem 0; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
label { display: block; margin-top: 1rem; }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: 0.6rem; margin-top: 0.25rem;
  border: 1px solid GrayText; border-radius: 0.4rem; }
button { margin-top: 1.5rem; cursor: pointer; color: #fff; background: #1d4ed8; border-color: #1d4ed8; }
:focus-visible { outline: 3px solid #60a5fa; outline-offset: 2px; }
[role=alert] { margin: 0; padding: 0.6rem 0.8rem; border-left: 4px solid #dc2626; }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>Log in</h1>
{alert}<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label for="name">Name</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="120" required{focus_name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024"
 required{focus_password}>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# Pages of the app have such names. All else could lead to another site, in one browser or the other.
_NEXT = re.compile(r"/[A-Za-z0-9_-]{0,64}")


@dataclass(frozen=True)
class Login:
    """The routes by which people log in and out.

    Args:
        accounts: Who may.
        sessions: Where they are noted then.
        throttle: Who must wait.
    """

    accounts: Accounts
    sessions: Sessions
    throttle: Throttle

    def routes(self) -> list[Route]:
        """`GET` and `POST /login`, `POST /logout`."""
        hashing = _Hashing()

        async def login(request: Request) -> Response:
            return await self._try(request, hashing)

        return [
            Route("/login", self._ask, methods=["GET", "HEAD"]),
            Route("/login", login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]

    def _ask(self, request: Request) -> Response:
        following = _following(request.query_params.get("next", "/"))
        if request.state.user is not None:
            return RedirectResponse(following, 303)
        return _page(following)

    async def _try(self, request: Request, hashing: "_Hashing") -> Response:
        fields = _fields(request.headers.get("content-type", ""), await request.body())
        # gradio_client asks in Gradio's own words, and takes a redirect for a refusal.
        is_program = "username" in fields
        name, password = fields.get("username", fields.get("name", "")).strip(), fields.get("password", "")
        following, address = _following(fields.get("next", "/")), request.state.address
        if hashing.asked >= HASHED_AT_ONCE + HASHES_WAITING:
            words = "Many people are logging in. Try again in a moment."
            return _page(following, name, words, 503, {"Retry-After": "5"})
        wait = math.ceil(self.throttle.begin(name, address))
        if wait:
            words = f"Too many tries. Wait {wait} second{'s' if wait > 1 else ''} and try again."
            return _page(following, name, words, 429, {"Retry-After": str(wait)})
        mark = await hashing.verify(self.accounts, name, password)
        if mark is None:
            _LOG.warning("a bad log-in as %s from %s", printable(name)[:60], printable(address))
            return _page(following, name, "The name or the password is wrong.", 401)
        self.throttle.succeed(name, address)
        self._close_all(request)
        response = JSONResponse({"success": True}) if is_program else RedirectResponse(following, 303)
        response.set_cookie(
            COOKIE,
            self.sessions.open(name, mark),
            max_age=int(LONGEST_SECONDS),
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    def _logout(self, request: Request) -> Response:
        self._close_all(request)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")
        return response

    def _close_all(self, request: Request) -> None:
        for token in cookies(request.scope["headers"], COOKIE)[:4]:
            self.sessions.close(token)


class _Hashing:
    """Compares passwords aside of everything else, some at a time. It lives in one event loop, so that counts hold."""

    def __init__(self) -> None:
        self.asked = 0
        self._limiter = anyio.CapacityLimiter(HASHED_AT_ONCE)

    async def verify(self, accounts: Accounts, name: str, password: str) -> str | None:
        self.asked += 1
        try:
            return await anyio.to_thread.run_sync(accounts.verify, name, password, limiter=self._limiter)
        finally:
            self.asked -= 1


def _page(
    following: str, name: str = "", alert: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    content = _PAGE.format(
        style=_STYLE,
        alert=f'<p role="alert">{html.escape(alert)}</p>\n' if alert else "",
        next=html.escape(following),
        name=html.escape(name[:120]),
        focus_name="" if name else " autofocus",
        focus_password=" autofocus" if name else "",
    )
    return HTMLResponse(content, status, {"Content-Security-Policy": _POLICY, **(headers or {})})


def _following(path: str) -> str:
    return path if _NEXT.fullmatch(path) and path not in ("/login", "/logout") else "/"


def _fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of the form.

    Raises:
        Refusal: It is none.
    """
    try:
        if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise ValueError("another kind of body")
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        raise Refusal(400, "The form cannot be read.") from None
    if any(len(values) != 1 for values in found.values()):
        raise Refusal(400, "The form names something twice.")
    return {name: values[0] for name, values in found.items()}
