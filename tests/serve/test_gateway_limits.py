"""How many requests an endpoint takes at once, and how long each may take: over models that need no weights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import httpx2
import pytest

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.walk import Order
from serve import gateway
from serve.artist import ModelReplaced
from serve.settings import Limits
from tests.serve.actors import PATH, Actor, client_of, post

MOST_S = 60.0
"""To wait for anything."""
JSON = {"content-type": "application/json"}


class Replaced(Actor):
    """Another model than it says, for some requests."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.asked: list[float] = []

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        self.asked.append(time.monotonic())
        if len(self.asked) <= self.times:
            raise ModelReplaced
        async for drawn in super().draw(order, num_previews=num_previews, within_s=within_s):
            yield drawn


class Body:
    """Comes in two parts: the second one when it is told to."""

    def __init__(self) -> None:
        self.coming, self._end = asyncio.Event(), asyncio.Event()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        yield b'{"prompt": "a"'
        self.coming.set()
        await self._end.wait()
        yield b"}"

    def end(self) -> None:
        self._end.set()


def test_more_requests_than_there_are_places_are_sent_away() -> None:
    async def crowd() -> list[int]:
        gate = asyncio.Event()
        async with client_of(Actor(gate=gate), max_requests=2) as client:
            waiting = [asyncio.create_task(client.post(PATH, json={"prompt": "a"})) for _ in range(2)]
            await asyncio.sleep(0.1)
            refused = await client.post(PATH, json={"prompt": "a"})
            gate.set()
            found = [*await asyncio.gather(*waiting), await client.post(PATH, json={"prompt": "a"})]
            assert refused.headers["retry-after"] == "1"
            return [refused.status_code, *(each.status_code for each in found)]

    assert asyncio.run(crowd()) == [429, 200, 200, 200]


def test_bodies_that_are_still_coming_take_no_place() -> None:
    async def crowd() -> list[int]:
        bodies = [Body() for _ in range(5)]
        async with client_of(Actor(), max_requests=2) as client:
            waiting = [asyncio.create_task(client.post(PATH, content=body.parts(), headers=JSON)) for body in bodies]
            await asyncio.gather(*(body.coming.wait() for body in bodies))
            found = [(await client.post(PATH, json={"prompt": "a"})).status_code for _ in range(3)]
            for body, answer in zip(bodies, waiting, strict=True):
                body.end()
                found.append((await answer).status_code)
            return found

    assert asyncio.run(asyncio.wait_for(crowd(), MOST_S)) == [200] * 8


def test_a_body_that_ends_when_all_places_are_taken_is_sent_away() -> None:
    async def crowd() -> list[int]:
        gate, body = asyncio.Event(), Body()
        actor = Actor(gate=gate)
        async with client_of(actor, max_requests=1) as client:
            last = asyncio.create_task(client.post(PATH, content=body.parts(), headers=JSON))
            await body.coming.wait()
            first = asyncio.create_task(client.post(PATH, json={"prompt": "a"}))
            while not actor.within_s:
                await asyncio.sleep(0.01)
            body.end()
            found = [(await last).status_code]
            gate.set()
            return [*found, (await first).status_code, (await client.post(PATH, json={"prompt": "a"})).status_code]

    assert asyncio.run(asyncio.wait_for(crowd(), MOST_S)) == [429, 200, 200]


@pytest.mark.parametrize("wrong", ["0", "-1", "121", "nan", "inf", "soon", ""])
def test_a_deadline_is_a_number_of_seconds(wrong: str) -> None:
    found = asyncio.run(post(Actor(), headers={"x-deadline-seconds": wrong}))
    assert (found.status_code, found.json()["error"]["param"]) == (400, "x-deadline-seconds")


def test_the_deadline_reaches_the_model() -> None:
    actor = Actor()
    for asked, headers in ((60.0, {"x-deadline-seconds": "60"}), (Limits().max_deadline_s, {})):
        asyncio.run(post(actor, headers=headers))
        assert asked / 2 < actor.within_s <= actor.facts_within_s <= asked


async def slowly(*parts: bytes, pause_s: float) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part
        await asyncio.sleep(pause_s)


def test_the_time_that_a_body_takes_is_taken_from_the_drawing() -> None:
    async def send(actor: Actor, **headers: str) -> httpx2.Response:
        async with client_of(actor) as client:
            body = slowly(b'{"prompt"', b': "a"}', pause_s=0.3)
            return await client.post(PATH, content=body, headers={"content-type": "application/json", **headers})

    actor = Actor()
    assert asyncio.run(send(actor)).status_code == 200
    assert actor.within_s < Limits().max_deadline_s - 0.25
    late = asyncio.run(send(Actor(), **{"x-deadline-seconds": "0.2"}))
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_model_whose_versions_take_turns_is_not_asked_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_REPLACED_PAUSE_S", 0.2)
    actor = Replaced(times=1)
    assert asyncio.run(post(actor)).status_code == 200
    first, second = actor.asked
    assert second - first > 0.15


def test_a_model_that_stays_replaced_until_the_deadline_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_REPLACED_PAUSE_S", 1000.0)
    found = asyncio.run(post(Replaced(times=9)))
    assert (found.status_code, found.json()["error"]["code"]) == (503, "model_not_ready")
