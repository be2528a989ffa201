"""What stands before every route: keys, how many requests there may be, how large and slow. Plain ASGI."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError, Refusal, too_busy, too_large, too_slow

KEYS_VARIABLE: Final = "LADD_RAY_API_KEYS"
"""Names the environment variable with bearer tokens, separated by commas."""
ARRIVED: Final = "ladd_ray.arrived"
"""In a request's scope: when it came, on the monotonic clock."""
_MOST_DIGITS: Final = 18
"""Of a size: more is no size, and takes long to read as a number."""
_MOST_TOGETHER: Final = 16
"""Largest bodies that may be in memory at once; smaller ones are more."""


def key_digests(file: Path | None, *, required: bool = False) -> tuple[str, ...]:
    """SHA-256 of every key in a file, one a line, and in the environment; nothing else of them is kept.

    Raises:
        ValueError: the file is missing or holds none, or none are anywhere and some are required.
    """
    keys = os.environ.get(KEYS_VARIABLE, "").split(",")
    if file is not None:
        if not file.is_file() or not file.read_text().split():
            raise ValueError(f"{file} holds no keys: write one a line, or leave api_keys_file out")
        keys += file.read_text().splitlines()
    digests = tuple(_digest(key.strip()) for key in keys if key.strip())
    if required and not digests:
        raise ValueError(
            f"keys are required, and there are none: set {KEYS_VARIABLE} where this application is built, which is the "
            "cluster's environment for `serve run` and `serve deploy` of a file; or set api_keys_file"
        )
    return digests


def is_known(key: str, digests: Sequence[str]) -> bool:
    """Whether it is one of the keys with these digests."""
    digest = _digest(key.strip())
    # All of them are compared, and each in constant time: how long it takes tells nothing about any key.
    found = [hmac.compare_digest(digest, known) for known in digests]
    return any(found)


class RequireKey:
    """Lets requests for /v1 through that carry one of the keys; all of them where there are no keys."""

    def __init__(self, app: ASGIApp, *, digests: Sequence[str]) -> None:
        self._app, self._digests = app, digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and _is_api(scope) and self._digests
        if guarded and not self._knows(Headers(scope=scope).get("authorization", "")):
            refusal = Refusal(
                HTTPStatus.UNAUTHORIZED,
                "Incorrect API key provided: send one as 'Authorization: Bearer <key>'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        return is_known(key, self._digests) and scheme.lower() == "bearer"


class LimitRequests:
    """Lets so many requests for pictures be under way, from the end of their bodies to the last event of their streams.

    Those whose bodies are still coming take no place: clients that never end them would take all.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app, self._most = app, most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_api(scope):
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            await self._busy().refusal.response()(scope, receive, send)
            return
        place = _Place()
        try:
            await self._app(scope, lambda: self._next(receive, place), send)
        finally:
            self._under_way -= place.taken

    async def _next(self, receive: Receive, place: _Place) -> Message:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False) and not place.taken:
            if self._under_way >= self._most:
                raise self._busy()
            self._under_way += 1
            place.taken = True
        return message

    def _busy(self) -> ApiError:
        return too_busy(f"{self._under_way} requests are under way: try again", retry_after_s=1)


class LimitBody:
    """Refuses bodies that are too large, by what they declare and by what comes, take too long, or are too many.

    Notes when each request came, since all of its time counts from then.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, within_s: float) -> None:
        self._app, self._max_bytes, self._within_s = app, max_bytes, within_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or len(declared) > _MOST_DIGITS or int(declared) > self._max_bytes:
            await too_large(self._max_bytes).refusal.response()(scope, receive, send)
            return
        scope[ARRIVED] = time.monotonic()
        body = _Body(receive, until=scope[ARRIVED] + self._within_s)
        try:
            await self._app(scope, lambda: self._next(body), send)
        finally:
            self._held -= body.size

    async def _next(self, body: _Body) -> Message:
        if body.complete:
            return await body.receive()
        try:
            message = await asyncio.wait_for(body.receive(), body.until - time.monotonic())
        except TimeoutError as error:
            raise too_slow(self._within_s) from error
        size = len(message.get("body", b""))
        body.complete, body.size = not message.get("more_body", False), body.size + size
        self._held += size
        if body.size > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._held > _MOST_TOGETHER * self._max_bytes:
            raise too_busy("too many large bodies are under way: try again", retry_after_s=1)
        return message


@dataclass
class _Place:
    """Of a request."""

    taken: bool = False


@dataclass
class _Body:
    """As far as it has come."""

    receive: Receive
    until: float
    """When it should be there, on the monotonic clock."""
    size: int = 0
    complete: bool = False


def _is_api(scope: Scope) -> bool:
    """Whether it is for /v1, wherever the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith("/v1")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
