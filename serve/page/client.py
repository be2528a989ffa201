"""The endpoint's own HTTP API, called in this process: the same keys, limits, checks and admission as from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Scope

from serve.errors import ApiError, Refusal
from serve.schemas import ModelCard, ModelList

_END: Final = b"\n\n"
"""Of an event in a stream."""


class ApiClient:
    """Asks an ASGI application as a client would."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def models(self, *, key: str) -> list[ModelCard]:
        """What is served.

        Raises:
            ApiError: whatever the API answers instead.
        """
        return ModelList.model_validate_json(await self._whole("GET", "/v1/models", key=key)).data

    async def model(self, name: str, *, key: str) -> ModelCard:
        """One of them; raises as ``models``."""
        return ModelCard.model_validate_json(await self._whole("GET", f"/v1/models/{name}", key=key))

    async def events(self, path: str, body: Mapping[str, Any], *, key: str) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a request that streams; closing the generator is what leaving is from outside.

        Raises:
            ApiError: the request is refused, at first or later.
        """
        async with aclosing(self._chunks("POST", path, body={**body, "stream": True}, key=key)) as chunks:
            buffer = b""
            async for chunk in chunks:
                *events, buffer = (buffer + chunk).split(_END)
                for event in events:
                    data = json.loads(event.partition(b"data: ")[2])
                    if "error" in data:
                        raise _refused(HTTPStatus.INTERNAL_SERVER_ERROR, data)
                    yield data

    async def _whole(self, method: str, path: str, *, key: str) -> bytes:
        async with aclosing(self._chunks(method, path, body=None, key=key)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _chunks(
        self, method: str, path: str, *, body: Mapping[str, Any] | None, key: str
    ) -> AsyncGenerator[bytes, None]:
        """The body of an answer as it comes, if it is a success."""
        content = b"" if body is None else json.dumps(body).encode()
        async with aclosing(self._messages(_scope(method, path, content, key=key), content)) as messages:
            start = await anext(messages)
            if start["status"] != HTTPStatus.OK:
                raise _refused(start["status"], json.loads(b"".join([part["body"] async for part in messages])))
            async for message in messages:
                yield message.get("body", b"")

    async def _messages(self, scope: Scope, content: bytes) -> AsyncGenerator[Message, None]:
        """What the application sends."""
        sent: asyncio.Queue[Message | None] = asyncio.Queue()
        whole: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Message:
            # This client leaves by cancelling: after its body there is nothing more to hear of it.
            return whole.pop() if whole else await asyncio.Future()

        working = asyncio.ensure_future(self._app(scope, receive, sent.put))
        working.add_done_callback(lambda _: sent.put_nowait(None))
        try:
            while (message := await sent.get()) is not None:
                yield message
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def _scope(method: str, path: str, content: bytes, *, key: str) -> Scope:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if key:
        headers.append((b"authorization", f"Bearer {key}".encode("latin-1", "replace")))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("page", 0),
        "server": ("page", 0),
    }


def _refused(status: int, envelope: Mapping[str, Any]) -> ApiError:
    error = envelope["error"]
    return ApiError(Refusal(status, error["message"], code=error["code"], param=error["param"]))
