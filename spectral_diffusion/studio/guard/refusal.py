"""A request that is not answered as asked, in words for people."""

import json
from collections.abc import Mapping

from starlette.types import Send


class Refusal(Exception):
    """Ends a request.

    Args:
        status: HTTP status.
        words: What the person reads.
        headers: Further ones.
    """

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = dict(headers or {})

    async def send(self, send: Send) -> None:
        """Answer with it, as Gradio's page understands refusals."""
        content = json.dumps({"detail": self.words}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), **self.headers}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": content})
