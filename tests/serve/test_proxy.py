"""What a proxy refuses by itself, and what it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve.proxy import BACKLOG_VARIABLE, DEADLINE_HEADER, RETRY_HEADER, TurnAway, proxy_middlewares

DRAWING = "/images/v1/images/generations"


class Machine:
    """An application that reads the body and then waits until a picture is drawn, each 1 second after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.status = 200
        self.broken = False
        self._waiting: list[asyncio.Future[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        if scope["method"] == "POST":
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]
        if self.broken:
            raise RuntimeError("broken")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def draw(self, seconds: float = 1.0) -> None:
        """The picture that was asked for first."""
        self.now += seconds
        self._waiting.pop(0).set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Client:
    """Sends one request."""

    def __init__(self, app: Any, *, path: str = DRAWING, method: str = "POST", body: bool = True, **headers: str):
        self.sent: list[Message] = []
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "method": method, "headers": raw}
        self._body = body
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._body:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return int(self.sent[0]["status"]) if self.sent else None


def on(scenario: Callable[[Machine, TurnAway], Any]) -> None:
    """Play it with a proxy that lets 10 seconds of work through, before a machine that draws one picture a second."""

    async def play() -> None:
        machine = Machine()
        app = TurnAway(machine, max_backlog_s=10.0, clock=lambda: machine.now)
        Client(app)
        await settle()
        await machine.draw()
        await scenario(machine, app)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(play())


def test_what_could_not_be_drawn_in_time_is_turned_away() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        crowd = [Client(app) for _ in range(12)]
        await settle()
        assert [client.status for client in crowd] == [None] * 8 + [429] * 4
        assert json.loads(crowd[-1].sent[1]["body"])["error"]["code"] == "overloaded"
        waits = [int(dict(client.sent[0]["headers"])[b"retry-after"]) for client in crowd[8:]]
        assert waits == sorted(waits)
        assert waits[0] >= 1

    on(scenario)


def test_whoever_comes_back_has_room_that_newcomers_have_not() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        crowd = [Client(app) for _ in range(9)]
        await settle()
        assert crowd[-1].status == 429
        for _ in range(int(dict(crowd[-1].sent[0]["headers"])[b"retry-after"])):
            await machine.draw()
        newcomers = [Client(app) for _ in range(9)]
        await settle()
        back = Client(app, **{RETRY_HEADER: "1"})
        await settle()
        assert (newcomers[-1].status, back.status) == (429, None)

    on(scenario)


def test_a_deadline_lets_less_in() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        crowd = [Client(app, **{DEADLINE_HEADER: "5"}) for _ in range(5)]
        await settle()
        assert [client.status for client in crowd] == [None] * 2 + [429] * 3

    on(scenario)


@pytest.mark.parametrize("deadline", ["soon", "-1", "nan"])
def test_a_deadline_that_is_none_is_left_to_the_gateway(deadline: str) -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        client = Client(app, **{DEADLINE_HEADER: deadline})
        await settle()
        await machine.draw()
        assert client.status == 200

    on(scenario)


def test_bodies_that_do_not_come_hold_no_place() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        for _ in range(50):
            Client(app, body=False)
        await settle()
        client = Client(app)
        await settle()
        assert client.status is None, "it is being drawn"

    on(scenario)


def test_whoever_leaves_and_what_fails_give_their_places_back() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        leaving = [Client(app) for _ in range(8)]
        await settle()
        for client in leaving:
            client.task.cancel()
        await settle()
        machine._waiting.clear()
        machine.status = 400
        refused = [Client(app) for _ in range(8)]
        await settle()
        for _ in refused:
            await machine.draw(seconds=0.0)
        again = [Client(app) for _ in range(8)]
        await settle()
        assert [client.status for client in refused] == [400] * 8
        assert [client.status for client in again] == [None] * 8

    on(scenario)


def test_a_crowd_that_left_does_not_make_the_endpoint_look_slow() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        leaving = [Client(app) for _ in range(8)]
        await settle()
        machine.now += 5.0
        for client in leaving:
            client.task.cancel()
        await settle()
        again = [Client(app) for _ in range(8)]
        await settle()
        assert [client.status for client in again] == [None] * 8

    on(scenario)


def test_what_breaks_is_no_client_that_left() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        machine.broken = True
        failing = [Client(app) for _ in range(8)]
        await settle()
        await machine.draw(seconds=5.0)
        for _ in failing[1:]:
            await machine.draw(seconds=0.0)
        found = await asyncio.gather(*(client.task for client in failing), return_exceptions=True)
        assert [str(error) for error in found] == ["broken"] * 8
        again = [Client(app) for _ in range(8)]
        await settle()
        assert again[-1].status == 429, "nothing got done in 5 seconds"

    on(scenario)


def test_other_requests_pass() -> None:
    async def scenario(machine: Machine, app: TurnAway) -> None:
        for _ in range(20):
            Client(app)
        models = Client(app, path="/v1/models", method="GET")
        await settle()
        assert models.status == 200

    on(scenario)


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("30s", "0", "nan"):
        monkeypatch.setenv(BACKLOG_VARIABLE, wrong)
        with pytest.raises(ValueError, match=f"{BACKLOG_VARIABLE} must be seconds.*{wrong}"):
            proxy_middlewares()
    monkeypatch.setenv(BACKLOG_VARIABLE, "600")
    assert proxy_middlewares()[1].kwargs == {"max_backlog_s": 600.0}
