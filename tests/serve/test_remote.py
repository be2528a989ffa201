"""What the gateway makes of a model's replicas that answer, refuse, hang, die or have another model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order
from serve import remote
from serve.artist import ModelReplaced
from serve.errors import ApiError, Refusal
from serve.remote import RemoteArtist, Replaced

FACTS = ModelFacts("f" * 16, False, 64, 16, 256, 4, 4, None)
ORDER = Order("generate", "a", 64, 64, seeds=(0,), num_inference_steps=1)
FIRST, SECOND = (Drawn(index, np.zeros((64, 64, 3), np.uint8)) for index in range(2))
OTHER = replace(FACTS, fingerprint="e" * 16)


class Answers:
    """Of a streaming call: each item comes, is raised, or is waited for."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = iter(items)
        self.cancelled = False

    async def __anext__(self) -> Any:
        try:
            item = next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None
        if isinstance(item, Exception):
            raise item
        if isinstance(item, float):
            await asyncio.sleep(item)
        return item

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment's handle, whose calls are answered one after the other; then as the last one."""

    def __init__(self, *calls: Sequence[Any], facts: Exception | None = None) -> None:
        self.answers: list[Answers] = []
        self.times_asked = 0
        self.asked_within: list[float] = []
        self.failure = facts
        self._calls = calls
        self.draw = self.facts = self

    def options(self, *, stream: bool) -> Handle:
        assert stream
        return self

    def remote(self, *arguments: Any, within_s: float = 0.0, **_: Any) -> Any:
        if not arguments:
            return self._ask()
        self.asked_within.append(within_s)
        self.answers.append(Answers(self._calls[min(len(self.answers), len(self._calls) - 1)]))
        return self.answers[-1]

    async def _ask(self) -> ModelFacts:
        self.times_asked += 1
        if self.failure:
            raise self.failure
        return FACTS


async def drawn(handle: Handle, within_s: float = 10.0) -> list[Drawn]:
    artist = RemoteArtist(handle)  # type: ignore[arg-type]
    return [each async for each in artist.draw(ORDER, num_previews=0, within_s=within_s)]


def test_pictures_pass_through() -> None:
    handle = Handle([FIRST, SECOND])
    assert asyncio.run(drawn(handle)) == [FIRST, SECOND]
    assert handle.answers[0].cancelled


@pytest.mark.parametrize(
    ("item", "status"),
    [(Refusal(429, "busy", code="overloaded"), 429), (DeploymentUnavailableError("a"), 503), (60.0, 504)],
)
def test_everything_else_is_a_refusal(item: Any, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_GRACE_S", 0.1)
    handle = Handle([FIRST, item])
    with pytest.raises(ApiError) as caught:
        asyncio.run(drawn(handle, within_s=0.1))
    assert caught.value.refusal.status == status
    assert handle.answers[0].cancelled
    assert len(handle.answers) == 1


def test_an_order_outlives_the_replicas_that_draw_it() -> None:
    preview = Drawn(1, FIRST.pixels, partial=0)
    handle = Handle([RayActorError()], [FIRST, preview, RayActorError()], [preview, FIRST, SECOND])
    assert asyncio.run(drawn(handle)) == [FIRST, preview, SECOND]
    assert all(answers.cancelled for answers in handle.answers)
    assert handle.asked_within == sorted(handle.asked_within, reverse=True)
    assert handle.asked_within[-1] < 10


def test_an_order_that_no_replica_ends_in_time_is_to_be_sent_again() -> None:
    handle = Handle([RayActorError()])
    with pytest.raises(ApiError) as caught:
        asyncio.run(drawn(handle, within_s=0.5))
    assert (caught.value.refusal.status, caught.value.refusal.headers) == (503, {"Retry-After": "5"})
    assert len(handle.answers) > 1


def test_who_draws_now_tells_what_it_can_do() -> None:
    async def ask() -> ModelFacts:
        artist = RemoteArtist(Handle([Replaced(OTHER)]))  # type: ignore[arg-type]
        assert await artist.facts() == FACTS
        with pytest.raises(ModelReplaced):
            await anext(artist.draw(ORDER, num_previews=0, within_s=1.0))
        return await artist.facts()

    assert asyncio.run(ask()) == OTHER


def test_facts_are_kept_for_a_while_and_as_long_as_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_twice(handle: Handle, failure: Exception | None = None) -> None:
        artist = RemoteArtist(handle)  # type: ignore[arg-type]
        assert await artist.facts() == FACTS
        handle.failure = failure
        assert await artist.facts() == FACTS

    handle = Handle([])
    asyncio.run(ask_twice(handle))
    assert handle.times_asked == 1
    monkeypatch.setattr(remote, "_FACTS_S", -1.0)
    asyncio.run(ask_twice(handle))
    assert handle.times_asked == 3
    asyncio.run(ask_twice(handle, RayActorError()))
    assert handle.times_asked == 5


def test_a_model_that_is_still_loading_is_not_ready() -> None:
    for error in (RayActorError(), TimeoutError()):
        with pytest.raises(ApiError) as caught:
            asyncio.run(RemoteArtist(Handle([], facts=error)).facts())  # type: ignore[arg-type]
        assert caught.value.refusal.status == 503


def test_nobody_waits_longer_for_a_model_than_they_want_to() -> None:
    class Loading(Handle):
        async def _ask(self) -> ModelFacts:
            await asyncio.sleep(3600)
            return FACTS

    async def ask() -> None:
        artist = RemoteArtist(Loading())  # type: ignore[arg-type]
        with pytest.raises(ApiError) as caught:
            await artist.facts(within_s=0.05)
        assert caught.value.refusal.status == 503

    asyncio.run(asyncio.wait_for(ask(), remote.CHECK_S / 2))


@pytest.mark.parametrize(("item", "status"), [(RayActorError(), 503), (Refusal(500, "a"), 500)])
def test_a_replica_that_cannot_draw_is_not_ready(item: Any, status: int) -> None:
    handle = Handle([item])
    with pytest.raises(ApiError) as caught:
        asyncio.run(RemoteArtist(handle).check())  # type: ignore[arg-type]
    assert caught.value.refusal.status == status
    assert len(handle.answers) == 1


@pytest.mark.parametrize("items", [[FIRST], [Refusal(429, "busy")]])
def test_a_replica_that_draws_or_is_busy_is_ready(items: list[Any]) -> None:
    asyncio.run(RemoteArtist(Handle(items)).check())  # type: ignore[arg-type]
