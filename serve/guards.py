"""What stands before every route: keys and the sizes of bodies. Plain ASGI."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Refusal

KEYS_VARIABLE: Final = "LADD_RAY_API_KEYS"
"""Names the environment variable with bearer tokens, separated by commas."""


def key_digests(file: Path | None) -> tuple[str, ...]:
    """SHA-256 of every key in a file, one a line, and in the environment; nothing else of them is kept.

    Raises:
        ValueError: the file is missing or holds none.
    """
    keys = os.environ.get(KEYS_VARIABLE, "").split(",")
    if file is not None:
        if not file.is_file() or not file.read_text().split():
            raise ValueError(f"{file} holds no keys: write one a line, or leave api_keys_file out")
        keys += file.read_text().splitlines()
    return tuple(_digest(key.strip()) for key in keys if key.strip())


class RequireKey:
    """Lets requests for /v1 through that carry one of the keys; all of them where there are no keys."""

    def __init__(self, app: ASGIApp, *, digests: Sequence[str]) -> None:
        self._app, self._digests = app, digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and scope["path"].startswith("/v1") and self._digests
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
        digest = _digest(key.strip())
        # All of them are compared, and each in constant time: how long it takes tells nothing about any key.
        found = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == "bearer" and any(found)


class LimitBody:
    """Refuses bodies that are too large, by what they declare and by what comes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            await self._refusal().response()(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                # The one kind of error that all parsers of bodies let through.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._refusal().message)
            return message

        return counted

    def _refusal(self) -> Refusal:
        message = f"the body is too large: at most {self._max_bytes} bytes"
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code="body_too_large")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
