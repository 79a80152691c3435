"""Stands before everything that the studio answers: closed, unless a rule opens it.

What comes in is judged in this order: by which name and from whose page it comes, which route it is for, who asks, and
whether every page, event and file that it names is theirs. What goes out tells the browser what not to do.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard.bodies import bounded, declared_length
from spectral_diffusion.studio.guard.demands import Demands
from spectral_diffusion.studio.guard.doors import LIMITS, PUBLIC, Doors, Kind
from spectral_diffusion.studio.guard.headers import FILE_POLICY, PAGE_POLICY, secured
from spectral_diffusion.studio.guard.origins import Hosts, is_same_origin
from spectral_diffusion.studio.guard.refusal import Refusal
from spectral_diffusion.studio.guard.sessions import COOKIE, Sessions

_LOG = logging.getLogger(__name__)
_STREAMS = frozenset({Kind.MESSAGES, Kind.HEARTBEAT, Kind.UPLOAD_PROGRESS})
_SHOWN = frozenset({Kind.PAGE, Kind.LOGIN, Kind.FILE})
"""What a person may come to by a link."""
_OWN = frozenset({Kind.LOGIN, Kind.LOGOUT})
# What a proxy says, Gradio would believe from anybody.
_FORWARDED = (b"x-forwarded-", b"forwarded", b"x-gradio-server", b"x-real-ip", b"x-original-", b"x-rewrite-")
_CACHING = {Kind.ASSET: "private, max-age=86400", Kind.FILE: "private, no-cache"}


@dataclass(frozen=True)
class Visit:
    """A request that may come in.

    Args:
        kind: What it is about.
        user: Who asks; None where nobody logs in, and before the log-in.
        token: Of the session.
        scope: As the app gets it: without what others could make it believe.
    """

    kind: Kind
    user: str | None
    token: str | None
    scope: Scope


@dataclass(frozen=True)
class Guard:
    """A pure ASGI middleware.

    Args:
        app: What it guards.
        hosts: The names that mean this studio.
        doors: The routes that are open.
        demands: What requests must be to be passed on.
        sessions: Who is logged in. None: nobody needs to.
        behind_proxy: Whether a proxy that can be trusted says who asks (`X-Forwarded-For`) and how
            (`X-Forwarded-Proto`).
    """

    app: ASGIApp
    hosts: Hosts
    doors: Doors
    demands: "Demands"
    sessions: Sessions | None = None
    behind_proxy: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Web sockets are closed, as the page needs none."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        visit: Visit | None = None

        async def send_secured(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                kind = visit.kind if visit else None
                policy = FILE_POLICY if kind is Kind.FILE else PAGE_POLICY
                policy = next((v.decode() for k, v in message["headers"] if k == b"content-security-policy"), policy)
                caching = _CACHING.get(kind, "no-store") if message["status"] < 400 and kind else "no-store"
                message = {**message, "headers": secured(message["headers"], policy, caching)}
            await send(message)

        try:
            visit = self._admit(scope)
            await self._pass(visit, receive, send_secured)
        except Refusal as refusal:
            if not started:
                await refusal.send(send_secured)
        except InputError as error:
            # The accounts cannot be read. Whoever asks is told no path.
            _LOG.error("%s", error)
            if not started:
                await Refusal(503, "The accounts cannot be read. Ask whoever runs this studio.").send(send_secured)
        except Exception:
            _LOG.exception("a fault of ours while answering %s %s", scope["method"], scope["path"][:200])
            if not started:
                await Refusal(500, "A fault of ours. The studio's log tells more.").send(send_secured)

    def _admit(self, scope: Scope) -> Visit:
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        host = _only(headers, b"host")
        if host is None or not self.hosts.allow(host):
            raise Refusal(
                421, "This studio does not answer by that name. Whoever runs it can allow it with --allowed-host."
            )
        kind = self.doors.find(method, path)
        _check_origin(headers, host, method, kind)
        user, token = self._who(headers)
        if self.sessions is not None and user is None and kind not in PUBLIC:
            if kind is Kind.PAGE:
                raise Refusal(303, "Log in first.", {"Location": f"/login?next={path}" if path != "/" else "/login"})
            raise Refusal(401, "Log in first.")
        if kind is None:
            raise Refusal(404, "There is nothing here.")
        return Visit(kind, user, token, self._cleaned(scope, kind, user))

    def _who(self, headers: list[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
        if self.sessions is None:
            return None, None
        for token in cookies(headers, COOKIE)[:4]:
            user = self.sessions.user(token)
            if user is not None:
                return user, token
        return None, None

    def _cleaned(self, scope: Scope, kind: Kind, user: str | None) -> Scope:
        """What the app gets to know of a request."""
        address = (scope.get("client") or ("unknown", 0))[0]
        scheme = scope["scheme"]
        if self.behind_proxy:
            said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            # The last one is the proxy's own word; those before it are its client's.
            address = said.decode("latin-1").rpartition(",")[2].strip() or address
            scheme = "https" if _only(scope["headers"], b"x-forwarded-proto") == "https" else "http"
        hidden = () if kind in _OWN else (b"cookie", b"authorization")
        # The answers that are read on their way out must not be compressed.
        hidden += (b"accept-encoding",) if kind in (Kind.EVENT, Kind.UPLOAD) else ()
        headers = [(k, v) for k, v in scope["headers"] if not k.startswith(_FORWARDED) and k not in hidden]
        state = {**scope.get("state", {}), "user": user, "address": address}
        return {**scope, "headers": headers, "scheme": scheme, "state": state}

    async def _pass(self, visit: Visit, receive: Receive, send: Send) -> None:
        length = declared_length(visit.scope, LIMITS.get(visit.kind, 0) if visit.scope["method"] == "POST" else 0)
        receive = await self.demands.check(visit.kind, visit.user, visit.scope, bounded(receive, length), length)
        if visit.kind in _STREAMS:
            send = self._while_logged_in(visit, send)
        learn = self.demands.learns(visit.kind, visit.user)
        await self.app(visit.scope, receive, _overheard(send, learn) if learn else send)

    def _while_logged_in(self, visit: Visit, send: Send) -> Send:
        """A stream that ends when its session does, whoever ended it."""
        sessions, token = self.sessions, visit.token
        if sessions is None or token is None:
            return send
        ended = False

        async def send_while(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.body" and not ended:
                ended = sessions.user(token, is_use=False) != visit.user
                if ended:
                    await send({"type": "http.response.body", "body": b""})
            # The server tells the app that nobody listens any more, as it does when a page is closed.
            if not ended:
                await send(message)

        return send_while


def cookies(headers: list[tuple[bytes, bytes]], wanted: str) -> list[str]:
    """All values of a cookie; pages of other ports of this machine can add some of the same name."""
    pairs = [part.partition("=") for k, v in headers if k == b"cookie" for part in v.decode("latin-1").split(";")]
    return [value.strip() for name, _, value in pairs if name.strip() == wanted]


def _check_origin(headers: list[tuple[bytes, bytes]], host: str, method: str, kind: Kind | None) -> None:
    """Refuse what pages of others send with the person's browser."""
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if any(not is_same_origin(origin, host) for origin in origins):
        raise Refusal(403, "Pages of others cannot use this studio.")
    site = _only(headers, b"sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return
    followed = _only(headers, b"sec-fetch-mode") == "navigate" and _only(headers, b"sec-fetch-dest") == "document"
    if not (followed and method in ("GET", "HEAD") and kind in _SHOWN):
        raise Refusal(403, "Pages of others cannot use this studio.")


def _only(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """The value of a header; None if there is none. Said twice it means nothing that is allowed."""
    found = [value.decode("latin-1") for name, value in headers if name == wanted]
    return found[0] if len(found) == 1 else None if not found else ",".join(found)


def _overheard(send: Send, learn: Callable[[int, bytes], Any]) -> Send:
    """Passes an answer on only once it was read as a whole, so that what it grants is granted when it arrives."""
    held: list[Message] = []

    async def send_after(message: Message) -> None:
        held.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            learn(held[0]["status"], b"".join(part.get("body", b"") for part in held[1:]))
            for part in held:
                await send(part)
            held.clear()

    return send_after
