"""What requests carry: no more than was agreed, and read before anybody acts on it."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from spectral_diffusion.studio.guard.refusal import Refusal


def declared_length(scope: Scope, limit: int) -> int:
    """The length of the body that a request says it has.

    Args:
        scope: Of the request.
        limit: Bytes; 0 where there may be no body.

    Raises:
        Refusal: It says none (a stream of unknown length), several, or more than the limit.
    """
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        raise Refusal(411, "Send the length of the body.")
    if not lengths:
        if scope["method"] in ("GET", "HEAD"):
            return 0
        raise Refusal(411, "Send the length of the body.")
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 15:
        raise Refusal(400, "The length of the body is not a number.")
    length = int(lengths[0])
    if length > limit:
        raise Refusal(413, f"That is too large: {length:,} bytes, and {limit:,} are allowed.")
    return length


def bounded(receive: Receive, length: int) -> Receive:
    """A body of which no more than its declared length is passed on; more ends it as if the line was cut."""
    seen = 0

    async def receive_within() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > length:
                return {"type": "http.disconnect"}
        return message

    return receive_within


async def read_body(receive: Receive, length: int) -> bytes:
    """A whole body.

    Raises:
        Refusal: It ends early, or is longer than it said.
    """
    content = bytearray()
    within = bounded(receive, length)
    while True:
        message = await within()
        if message["type"] != "http.request":
            raise Refusal(400, "The body is not as long as it said.")
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    if len(content) != length:
        raise Refusal(400, "The body is not as long as it said.")
    return bytes(content)


def replayed(content: bytes, receive: Receive) -> Receive:
    """A body that was read already, for whoever comes next."""
    told = False

    async def receive_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": content, "more_body": False}

    return receive_again


def parsed_object(content: bytes) -> dict[str, Any]:
    """The JSON object of a body, if it can be read in one way only.

    Raises:
        Refusal: It is none, or names a member twice, or has numbers that JSON has not.
    """
    try:
        value = json.loads(content.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The body is not a JSON object.")
    return value


async def parsed_form(scope: Scope, content: bytes) -> dict[str, str]:
    """The fields of a multipart form that carries one file; each name once.

    Raises:
        Refusal: It is no such form.
    """
    request = Request(scope, replayed(content, _no_more))
    try:
        async with request.form(max_files=1, max_fields=16, max_part_size=2**16) as form:
            pairs = form.multi_items()
    except (MultiPartException, ValueError, KeyError, HTTPException):
        raise Refusal(400, "The form cannot be read.") from None
    fields = {name: value for name, value in pairs if isinstance(value, str)}
    if len({name for name, _ in pairs}) != len(pairs) or len(pairs) - len(fields) != 1:
        raise Refusal(400, "The form names something twice, or has no file.")
    return fields


async def _no_more() -> Message:
    return {"type": "http.disconnect"}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        # Which of two counts, the next reader may see in another way.
        raise ValueError("a member is named twice")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)
