"""Takes away the headers with which a client would switch off Ray Serve's own limits, or choose its replica.

Ray Serve's proxy reads them before any code of an application, so it has to be told where to find this:

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.control_headers:proxy_middlewares

Without that the gateway still keeps its own deadlines and notices who left. The proxy has seconds to start: nothing
heavy may be imported here.
"""

from __future__ import annotations

from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CONTROL_HEADERS: Final = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"serve-multiplexed-model-id",
        b"x-session-id",
    }
)
"""Written with hyphens; Ray takes underscores for the same. The last two choose a replica."""


class StripControlHeaders:
    """Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [header for header in scope["headers"] if _is_harmless(*header)]}
        await self._app(scope, receive, send)


def _is_harmless(name: bytes, value: bytes) -> bool:
    name = name.lower().replace(b"_", b"-")
    # The proxy reads a request's name as UTF-8, and fails where it is none.
    return name not in CONTROL_HEADERS and (name != b"x-request-id" or value.isascii())


def proxy_middlewares() -> list[Middleware]:
    """Called by every proxy as it starts."""
    return [Middleware(StripControlHeaders)]
