"""What a request must be to reach Gradio: well formed, and about nothing that is somebody else's."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from spectral_diffusion.studio.guard.bodies import parsed_form, parsed_object, read_body, replayed
from spectral_diffusion.studio.guard.claims import Claims
from spectral_diffusion.studio.guard.claims import Kind as Claimed
from spectral_diffusion.studio.guard.doors import Kind
from spectral_diffusion.studio.guard.grants import FILE_ROUTE, Grants, is_within, texts
from spectral_diffusion.studio.guard.refusal import Refusal

FREE_BYTES = 2**30
"""Uploads are refused where they would leave less on the disk: jobs need it."""
VALUES_LIMIT = 50_000
"""So many values are in one event at most: each is looked at while everybody waits."""
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_THEIRS = "That is not yours."


@dataclass(frozen=True)
class Demands:
    """The rules about what people may name.

    Args:
        grants: Whose files are whose.
        claims: Whose pages and events are whose.
        knows_event: Whether a page (by its session hash) has an event of this number.
        server_functions: Names of the components' own functions that a page may call.
    """

    grants: Grants
    claims: Claims
    knows_event: Callable[[str, int], bool]
    server_functions: frozenset[str] = frozenset()

    async def check(self, kind: Kind, user: str | None, scope: Scope, receive: Receive, length: int) -> Receive:
        """Judge a request.

        Args:
            kind: What it is about.
            user: Who asks.
            scope: Of the request.
            receive: Its body, of at most `length` bytes.
            length: As declared.

        Returns:
            The body for the app.

        Raises:
            Refusal: It is not passed on.
        """
        if kind is Kind.PAGE:
            if not {"deep_link", "page"}.isdisjoint(_query(scope)):
                raise Refusal(404, "There is no such page.")
        elif kind is Kind.FILE:
            if not self.grants.allows(user, scope["path"].removeprefix(FILE_ROUTE)):
                raise Refusal(403, _NOT_THEIRS)
        elif kind is Kind.MESSAGES:
            self._claim(user, "session", _one(scope, "session_hash"))
        elif kind is Kind.HEARTBEAT:
            self._claim(user, "session", scope["path"].rpartition("/")[2])
        elif kind is Kind.UPLOAD_PROGRESS:
            self._claim(user, "upload", _one(scope, "upload_id"))
        elif kind is Kind.UPLOAD:
            if "upload_id" in _query(scope):
                self._claim(user, "upload", _one(scope, "upload_id"))
            if shutil.disk_usage(self.grants.folder).free - length < FREE_BYTES:
                raise Refusal(507, "There is not enough space left for that. Ask whoever runs this studio.")
        elif kind in (Kind.EVENT, Kind.CANCEL, Kind.RESET):
            content = await read_body(receive, length)
            self._check_event(kind, user, parsed_object(content))
            return replayed(content, receive)
        elif kind is Kind.COMPONENT:
            content = await read_body(receive, length)
            await self._check_component(user, scope, content)
            return replayed(content, receive)
        return receive

    def learns(self, kind: Kind, user: str | None) -> Callable[[int, bytes], None] | None:
        """What is taken from the answer to a request of this kind; None: nothing."""

        def learn(status: int, content: bytes) -> None:
            if status != 200:
                return
            answer = json.loads(content)
            if kind is Kind.UPLOAD:
                for path in answer:
                    self.grants.allow(user, path)
            elif isinstance(answer, dict) and isinstance(answer.get("event_id"), str):
                self.claims.take(user, "event", answer["event_id"])

        return learn if kind in (Kind.UPLOAD, Kind.EVENT) else None

    def _check_event(self, kind: Kind, user: str | None, body: dict[str, Any]) -> None:
        if not is_within(body, VALUES_LIMIT):
            raise Refusal(413, f"That is too much at once: an event holds at most {VALUES_LIMIT:,} values.")
        if kind is not Kind.RESET:
            page = body.get("session_hash")
            self._claim(user, "session", page)
            number = body.get("fn_index")
            if type(number) is not int or not self.knows_event(str(page), number):
                raise Refusal(404, "The page has no such event. Load it again.")
        event = body.get("event_id")
        if (event is not None or kind is not Kind.EVENT) and not self.claims.holds(user, "event", str(event)):
            raise Refusal(403, _NOT_THEIRS)
        if kind is Kind.EVENT:
            # What no page sends, but Gradio would heed.
            if any(body.get(name) for name in ("batched", "simple_format", "oauth_token")):
                raise Refusal(400, "The event is not as the page sends it.")
            if not isinstance(body.get("data"), list):
                raise Refusal(400, "The event has no data.")
            if any(key == "id" and self.claims.is_anothers(user, "drawing", text) for key, text in texts(body)):
                raise Refusal(403, _NOT_THEIRS)
        if not self.grants.allows_content(user, body):
            raise Refusal(403, _NOT_THEIRS)

    async def _check_component(self, user: str | None, scope: Scope, content: bytes) -> None:
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        is_form = kinds and kinds[0].lower().startswith(b"multipart/form-data")
        fields: dict[str, Any] = await parsed_form(scope, content) if is_form else parsed_object(content)
        if not is_within(fields, VALUES_LIMIT):
            raise Refusal(413, f"That is too much at once: a call holds at most {VALUES_LIMIT:,} values.")
        number = fields.get("component_id")
        if not re.fullmatch(r"\d{1,9}", str(number), re.ASCII) or isinstance(number, bool):
            raise Refusal(400, "The page has no such component.")
        if fields.get("fn_name") not in self.server_functions:
            raise Refusal(404, "The page has no such function.")
        self._claim(user, "session", fields.get("session_hash"))
        if is_form:
            # Gradio keeps drawings of all people by a number that the browser made up.
            self._claim(user, "drawing", fields.get("id"))
        if not self.grants.allows_content(user, fields):
            raise Refusal(403, _NOT_THEIRS)

    def _claim(self, user: str | None, kind: Claimed, value: object) -> None:
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            raise Refusal(400, "The page is not known. Load it again.")
        if not self.claims.take(user, kind, value):
            raise Refusal(403, _NOT_THEIRS)


def _query(scope: Scope) -> dict[str, list[str]]:
    try:
        return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise Refusal(400, "The address has too many parts.") from None


def _one(scope: Scope, name: str) -> str:
    values = _query(scope).get(name, [])
    if len(values) != 1:
        raise Refusal(400, "The page is not known. Load it again.")
    return values[0]
