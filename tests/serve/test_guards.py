"""Keys and headers before any route."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve.errors import ApiError
from serve.guards import KEYS_VARIABLE, LimitBody, RequireKey, key_digests
from serve.proxy import StripControlHeaders, TurnAway, proxy_middlewares


class App:
    """Reads the whole body and answers 200."""

    def __init__(self) -> None:
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def status(app: Any, *, path: str = "/v1/models", root_path: str = "", headers: dict[str, str] | None = None) -> int:
    sent: list[Message] = []
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 8, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "root_path": root_path, "headers": raw, "method": "GET"}
    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv(KEYS_VARIABLE, "first, second,")
    (tmp_path / "keys").write_text("third\n\n  fourth \n")
    return key_digests(tmp_path / "keys")


@pytest.mark.parametrize("key", ["first", "second", "third", "fourth"])
def test_every_key_opens(digests: tuple[str, ...], key: str) -> None:
    assert len(digests) == 4
    assert not any(key in digest for digest in digests)
    for authorization in (f"Bearer {key}", f"bearer  {key}"):
        assert status(RequireKey(App(), digests=digests), headers={"Authorization": authorization}) == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer fifth", "Basic first", "first", "Bearer FIRST"]
)
def test_anything_else_does_not(digests: tuple[str, ...], authorization: str) -> None:
    assert status(RequireKey(App(), digests=digests), headers={"Authorization": authorization}) == 401


def test_only_the_api_is_guarded_and_only_with_keys(digests: tuple[str, ...]) -> None:
    assert status(RequireKey(App(), digests=digests), path="/health") == 200
    assert status(RequireKey(App(), digests=())) == 200


def test_the_api_is_guarded_wherever_it_is_mounted(digests: tuple[str, ...]) -> None:
    guarded = RequireKey(App(), digests=digests)
    assert status(guarded, path="/pictures/v1/models", root_path="/pictures") == 401
    assert status(guarded, path="/pictures/health", root_path="/pictures") == 200


def test_a_file_without_keys_is_no_open_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    assert key_digests(None) == ()
    (tmp_path / "empty").write_text("\n")
    for file in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(ValueError, match="holds no keys"):
            key_digests(file)


@pytest.mark.parametrize(
    ("declared", "expected"), [("8", 200), ("9", 413), ("-1", 413), ("many", 413), ("1" * 5000, 413), ("\u00b2", 413)]
)
def test_bodies_are_refused_by_what_they_declare(declared: str, expected: int) -> None:
    assert status(LimitBody(App(), max_bytes=8, within_s=9), headers={"Content-Length": declared}) == expected


def test_bodies_share_the_memory_there_is() -> None:
    """Of sixteen of the largest; the next one is asked to come back, and finds room when another one is through."""

    async def crowd() -> list[int]:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await gate.wait()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 8, "more_body": False}

        async def one() -> int:
            try:
                await guarded({"type": "http", "path": "/", "headers": []}, receive, receive)  # type: ignore[arg-type]
            except ApiError as error:
                return error.refusal.status
            return 200

        guarded = LimitBody(app, max_bytes=8, within_s=9)
        holding = [asyncio.create_task(one()) for _ in range(16)]
        await asyncio.sleep(0.05)
        found = [await one()]
        gate.set()
        return [*found, *await asyncio.gather(*holding), await one()]

    assert asyncio.run(crowd()) == [429, *[200] * 17]


def test_headers_that_switch_limits_off_are_taken_away() -> None:
    app = App()
    headers = {"X-Request-Timeout-Seconds": "0", "x-request-disconnect-disabled": "?1", "x-request-id": "a"}
    headers |= {"serve_multiplexed_model_id": "a", "Serve-Multiplexed-Model-Id": "b", "x-session-id": "c"}
    assert status(StripControlHeaders(app), headers=headers) == 200
    assert app.scope["headers"] == [(b"x-request-id", b"a")]
    assert status(StripControlHeaders(app), headers={"x-request-id": "\u00e4"}) == 200
    assert app.scope["headers"] == []
    assert [middleware.cls for middleware in proxy_middlewares()] == [StripControlHeaders, TurnAway]
