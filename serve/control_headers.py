"""Takes away the headers with which a client would switch off Ray Serve's own limits.

Ray Serve's proxy reads them before any code of an application, so it has to be told where to find this:

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.control_headers:proxy_middlewares

Without that the gateway still keeps its own deadlines and notices who left. The proxy has seconds to start: nothing
heavy may be imported here.
"""

from __future__ import annotations

from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CONTROL_HEADERS: Final = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})


class StripControlHeaders:
    """Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name.lower() not in CONTROL_HEADERS]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def proxy_middlewares() -> list[Middleware]:
    """Called by every proxy as it starts."""
    return [Middleware(StripControlHeaders)]
