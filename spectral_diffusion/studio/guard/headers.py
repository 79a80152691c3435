"""What every answer tells the browser not to do."""

from collections.abc import Iterable

_FOR_ALL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # "no-referrer" would make browsers call the origin of our own forms "null".
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}

PAGE_POLICY = (
    # Gradio writes scripts into its page and compiles templates of components in the browser.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of what people uploaded or made: whatever it holds, it runs nothing and loads nothing."""

# Of the answers of Gradio's, what it would allow to pages of others is taken away.
_TAKEN = (b"server", b"x-powered-by")


def secured(headers: Iterable[tuple[bytes, bytes]], policy: str, caching: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with ours in the place of any of the same names.

    Args:
        headers: As the app gave them.
        policy: The Content-Security-Policy.
        caching: The Cache-Control.
    """
    ours = {**_FOR_ALL, "Content-Security-Policy": policy, "Cache-Control": caching}
    written = [(name.lower().encode(), value.encode()) for name, value in ours.items()]
    replaced = {name for name, _ in written}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in replaced
        and name.lower() not in _TAKEN
        and not name.lower().startswith(b"access-control-")
    ]
    return kept + written
