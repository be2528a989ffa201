"""What Ray Serve's proxies do with requests before any code of the application sees them. Plain ASGI.

Ray has to be told where to find this:

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.proxy:proxy_middlewares

Without it the gateway still keeps its own deadlines, refuses what is too much and notices who left; only later, and at
a higher price. A proxy has seconds to start: nothing heavy may be imported here.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ladd_ray.admission import Admission, Overloaded, Reservation

CONTROL_HEADERS: Final = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"serve-multiplexed-model-id",
        b"x-session-id",
    }
)
"""Written with hyphens; Ray takes underscores for the same. The last two choose a replica."""

DRAWING_PATHS: Final = ("/v1/images/generations", "/v1/images/edits")
DEADLINE_HEADER: Final = "x-deadline-seconds"
RETRY_HEADER: Final = "x-stainless-retry-count"
"""OpenAI's clients say with it how often they were turned away."""
BACKLOG_VARIABLE: Final = "LADD_RAY_PROXY_BACKLOG_S"
"""Names the environment variable with the seconds of work that a proxy lets through; what it says is a first estimate,
and batch.max_backlog_s of the replicas is the exact limit."""
_BACKLOG_S: Final = 30.0


class StripControlHeaders:
    """Takes away the headers with which a client would switch off Ray's own limits, or choose its replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [header for header in scope["headers"] if _is_harmless(*header)]}
        await self._app(scope, receive, send)


class TurnAway:
    """Refuses requests for pictures that could not be drawn in time, at a hundredth of what they would cost behind.

    A request that a replica refuses has passed through three processes. At several times the capacity that alone fills
    a machine, and those who were let in wait behind those who will not be. So how fast requests get done is measured
    here, too, by their number. [ours]
    """

    def __init__(self, app: ASGIApp, *, max_backlog_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._admission = Admission(max_backlog_s=max_backlog_s, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(DRAWING_PATHS):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            # Only asked: whoever sends no body must not hold a place.
            self._admission.admit(1.0, within_s=_deadline_s(headers), came_back=was_turned_away(headers)).close()
        except Overloaded as overloaded:
            await _refusal(overloaded)(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as place:
            status: int | None = None

            async def counted_receive() -> Message:
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    reservation = self._admission.take(1.0)
                    place.callback(lambda: _settle(reservation, status))
                return message

            async def watched_send(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await self._app(scope, counted_receive, watched_send)
            except Exception:
                # No answer began, as if the client had left; but the server above will answer 500.
                status = status or HTTPStatus.INTERNAL_SERVER_ERROR
                raise


def was_turned_away(headers: Headers) -> bool:
    """Whether a client says that it was turned away before."""
    return headers.get(RETRY_HEADER, "0") != "0"


def proxy_middlewares() -> list[Middleware]:
    """Called by every proxy as it starts.

    Raises:
        ValueError: the environment has no limit that could be one.
    """
    given = os.environ.get(BACKLOG_VARIABLE, str(_BACKLOG_S))
    try:
        max_backlog_s = float(given)
    except ValueError:
        max_backlog_s = math.nan
    if not 0 < max_backlog_s < math.inf:
        raise ValueError(f"{BACKLOG_VARIABLE} must be seconds of work, such as {_BACKLOG_S:g}, and is {given!r}")
    return [Middleware(StripControlHeaders), Middleware(TurnAway, max_backlog_s=max_backlog_s)]


def _settle(reservation: Reservation, status: int | None) -> None:
    """A request is over, with that answer or without any."""
    if status is None:
        # The client left. Steps that were done for it are not known here, and its time must not look like idleness.
        reservation.abandon()
    elif status == HTTPStatus.OK:
        reservation.spend(1.0)
    else:
        reservation.close()


def _deadline_s(headers: Headers) -> float:
    """As a client wants it; what is no number the gateway refuses."""
    try:
        seconds = float(headers.get(DEADLINE_HEADER, math.inf))
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


def _refusal(overloaded: Overloaded) -> JSONResponse:
    error = {"message": str(overloaded), "type": "rate_limit_error", "param": None, "code": "overloaded"}
    return JSONResponse(
        {"error": error},
        status_code=HTTPStatus.TOO_MANY_REQUESTS,
        headers={"Retry-After": str(overloaded.retry_after_s)},
    )


def _is_harmless(name: bytes, value: bytes) -> bool:
    name = name.lower().replace(b"_", b"-")
    # The proxy reads a request's name as UTF-8, and fails where it is none.
    return name not in CONTROL_HEADERS and (name != b"x-request-id" or value.isascii())
