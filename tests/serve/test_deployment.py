"""What the gateway makes of a model's replicas that answer, refuse, hang or die."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order
from serve import deployment
from serve.deployment import RemoteArtist
from serve.errors import ApiError, Refusal

FACTS = ModelFacts("f" * 16, True, False, 64, 16, 256, 4, 4, None)
ORDER = Order("generate", "a", 64, 64, seeds=(0,), num_inference_steps=1)
DRAWN = Drawn(0, np.zeros((64, 64, 3), np.uint8))


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
    """A deployment's handle."""

    def __init__(self, *items: Any, facts: Exception | None = None) -> None:
        self.answers = Answers(items)
        self.times_asked = 0
        self._facts = facts
        self.draw = self.facts = self

    def options(self, *, stream: bool) -> Handle:
        assert stream
        return self

    def remote(self, *arguments: Any, **_: Any) -> Any:
        return self.answers if arguments else self._ask()

    async def _ask(self) -> ModelFacts:
        self.times_asked += 1
        if self._facts:
            raise self._facts
        return FACTS


async def drawn(handle: Handle, within_s: float = 10.0) -> list[Drawn]:
    artist = RemoteArtist(handle)  # type: ignore[arg-type]
    return [each async for each in artist.draw(ORDER, num_previews=0, within_s=within_s)]


def test_pictures_pass_through() -> None:
    handle = Handle(DRAWN, DRAWN)
    assert asyncio.run(drawn(handle)) == [DRAWN, DRAWN]
    assert handle.answers.cancelled


@pytest.mark.parametrize(
    ("item", "status"), [(Refusal(429, "busy", code="overloaded"), 429), (RayActorError(), 503), (60.0, 504)]
)
def test_everything_else_is_a_refusal(item: Any, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "_GRACE_S", 0.1)
    handle = Handle(DRAWN, item)
    with pytest.raises(ApiError) as caught:
        asyncio.run(drawn(handle, within_s=0.1))
    assert caught.value.refusal.status == status
    assert handle.answers.cancelled


def test_facts_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_twice(handle: Handle) -> None:
        artist = RemoteArtist(handle)  # type: ignore[arg-type]
        assert [await artist.facts(), await artist.facts()] == [FACTS, FACTS]

    handle = Handle()
    asyncio.run(ask_twice(handle))
    assert handle.times_asked == 1
    monkeypatch.setattr(deployment, "_FACTS_S", -1.0)
    asyncio.run(ask_twice(handle))
    assert handle.times_asked == 3


def test_a_model_that_is_still_loading_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RayActorError(), TimeoutError()):
        with pytest.raises(ApiError) as caught:
            asyncio.run(RemoteArtist(Handle(facts=error)).facts())  # type: ignore[arg-type]
        assert caught.value.refusal.status == 503
