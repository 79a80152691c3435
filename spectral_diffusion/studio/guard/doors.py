"""What of Gradio's many routes the page needs. All others are closed, those of later versions too."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

JSON_LIMIT_BYTES = 8 * 2**20
"""Of an event: a long prompt is a few kilobytes, a drawn mask some hundred."""
UPLOAD_LIMIT_BYTES = 2**30
"""Of all files of one upload, as of an archive."""
FORM_LIMIT_BYTES = 16 * 2**10
DRAWING_LIMIT_BYTES = 64 * 2**20
"""Of a picture that is drawn on, as PNG."""


class Kind(Enum):
    """What a request is about, and so how it is checked."""

    LOGIN = "login"
    LOGOUT = "logout"
    PAGE = "page"
    CONFIG = "config"
    ASSET = "asset"
    FILE = "file"
    EVENT = "event"
    CANCEL = "cancel"
    RESET = "reset"
    MESSAGES = "messages"
    HEARTBEAT = "heartbeat"
    UPLOAD = "upload"
    UPLOAD_PROGRESS = "upload progress"
    COMPONENT = "component"


LIMITS = {
    Kind.LOGIN: FORM_LIMIT_BYTES,
    Kind.LOGOUT: FORM_LIMIT_BYTES,
    Kind.EVENT: JSON_LIMIT_BYTES,
    Kind.CANCEL: FORM_LIMIT_BYTES,
    Kind.RESET: FORM_LIMIT_BYTES,
    Kind.UPLOAD: UPLOAD_LIMIT_BYTES,
    Kind.COMPONENT: DRAWING_LIMIT_BYTES,
}
"""Bytes of a body, where there may be one."""

PUBLIC = frozenset({Kind.LOGIN})
"""What answers whoever has not logged in."""

_READ = frozenset({"GET", "HEAD"})
_GET = frozenset({"GET"})
_POST = frozenset({"POST"})


@dataclass(frozen=True)
class Door:
    """A route that is open.

    Args:
        kind: What it is about.
        methods: By which it is open.
        shape: Of the whole path, as decoded once.
    """

    kind: Kind
    methods: frozenset[str]
    shape: re.Pattern[str]


@dataclass(frozen=True)
class Doors:
    """All routes that are open."""

    doors: tuple[Door, ...]

    @classmethod
    def of(cls, pages: Iterable[str] = ("",), *, has_accounts: bool, has_components: bool) -> "Doors":
        """The routes of a page.

        Args:
            pages: Names of the app's pages; the first one is `""`.
            has_accounts: Whether people log in.
            has_components: Whether a component of the page calls functions of its own on the server.
        """
        doors = [
            *((Kind.PAGE, _READ, re.escape(f"/{page}")) for page in pages),
            # The last one is how gradio_client learns the names of events.
            (Kind.CONFIG, _GET, "/config|/gradio_api/app_id|/gradio_api/info"),
            (Kind.ASSET, _READ, r"/(assets|static|svelte)/(?!.*\.\.)[A-Za-z0-9_./@+~ -]{1,300}"),
            (Kind.ASSET, _READ, r"/theme\.css|/favicon\.ico|/manifest\.json"),
            (Kind.FILE, _READ, r"/gradio_api/file=.{1,4096}"),
            (Kind.EVENT, _POST, r"/gradio_api/queue/join|/gradio_api/run/[A-Za-z0-9_-]{1,200}"),
            (Kind.MESSAGES, _GET, "/gradio_api/queue/data"),
            (Kind.HEARTBEAT, _GET, r"/gradio_api/heartbeat/[A-Za-z0-9_-]{1,64}"),
            (Kind.CANCEL, _POST, "/gradio_api/cancel"),
            (Kind.RESET, _POST, "/gradio_api/reset"),
            (Kind.UPLOAD, _POST, "/gradio_api/upload"),
            (Kind.UPLOAD_PROGRESS, _GET, "/gradio_api/upload_progress"),
        ]
        if has_accounts:
            doors += [(Kind.LOGIN, _READ | _POST, "/login"), (Kind.LOGOUT, _POST, "/logout")]
        if has_components:
            doors.append((Kind.COMPONENT, _POST, "/gradio_api/component_server"))
        return cls(tuple(Door(kind, methods, re.compile(shape, re.DOTALL)) for kind, methods, shape in doors))

    def find(self, method: str, path: str) -> Kind | None:
        """What a request is about; None: nothing that is open."""
        found = (door for door in self.doors if method in door.methods and door.shape.fullmatch(path))
        return next((door.kind for door in found), None)
