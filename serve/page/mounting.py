"""What of Gradio's application is reachable, and for whom: the addresses that the page itself uses, and no files.

Pictures travel inside events, as data URLs: nothing is written to this machine's disk, or fetched from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import bad_request
from serve.guards import is_known

_TOP: Final = frozenset({"", "config", "theme.css", "assets", "static", "svelte", "favicon.ico", "manifest.json"})
_API: Final = "/gradio_api/"
_JOIN: Final = "/gradio_api/queue/join"
_STRANGERS_BYTES: Final = 16 * 1024
"""Of an event without a key: enough to arrive with."""
KEY_COOKIE: Final = "ladd_ray_key"
"""Where the browser keeps a visitor's key until it is closed."""
_EVENTS: Final = ("queue/join", "queue/data", "heartbeat/", "cancel", "reset", "startup-events", "theme.css")


class PageMount(Mount):
    """The page at /, but only its own addresses: all others keep the API's answers."""

    def __init__(self, app: ASGIApp, *, key_digests: Sequence[str]) -> None:
        super().__init__("/", app=GuardEvents(app, digests=key_digests))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not _is_ours(_path(scope)):
            return Match.NONE, {}
        return super().matches(scope)


class GuardEvents:
    """Lets events through that hold nothing but texts, numbers and flags: where a file is named, Gradio would fetch it.

    Without a key where the endpoint asks for one, they must be small too: Gradio remembers what a page has sent.
    """

    def __init__(self, app: ASGIApp, *, digests: Sequence[str]) -> None:
        self._app, self._digests = app, digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _path(scope) == _JOIN:
            if self._digests and not is_known(key_of(scope), self._digests):
                receive = _small(receive)
            body = await Request(scope, receive).body()
            if not _is_plain(body):
                raise bad_request("the page sends texts, numbers and flags only")
            receive = _again(body, receive)
        await self._app(scope, receive, send)


def key_of(scope: Scope) -> str:
    """The key that a visitor has entered; empty without one."""
    return unquote(cookie_parser(Headers(scope=scope).get("cookie", "")).get(KEY_COOKIE, ""))


def _path(scope: Scope) -> str:
    """Wherever the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_ours(path: str) -> bool:
    if path.startswith(_API):
        return path.removeprefix(_API).startswith(_EVENTS)
    return path.lstrip("/").partition("/")[0] in _TOP


def _is_plain(body: bytes) -> bool:
    try:
        event = json.loads(body)
    except ValueError:
        return False
    values = event.get("data") if isinstance(event, dict) else None
    return isinstance(values, list) and not any(isinstance(value, (dict, list)) for value in values)


def _small(receive: Receive) -> Receive:
    """The same body, if there is little of it."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _STRANGERS_BYTES:
            raise bad_request("this endpoint asks for a key: reload the page and enter one")
        return message

    return counted


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for the next reader."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return whole.pop() if whole else await receive()

    return replayed
