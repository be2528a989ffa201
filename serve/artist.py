"""What the gateway needs of a model, wherever that is: facts, pictures, and a sign of life."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final, Protocol

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order

from .errors import ApiError, not_ready

CHECK_S: Final = 30.0
"""Seconds that a sign of life may take."""


class ModelReplaced(ApiError):  # noqa: N818 - says what is the matter
    """Another model draws now than the one that an order was checked against. Clients may just ask again."""

    def __init__(self) -> None:
        super().__init__(not_ready("another version of the model took over just now: try again").refusal)


class Artist(Protocol):
    """A model that draws."""

    async def facts(self, *, within_s: float = CHECK_S) -> ModelFacts:
        """What it can do; waits until it is loaded.

        Raises:
            ApiError: it is not loaded in this time.
        """
        ...

    def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        """As ``Studio.draw``, but for the errors.

        Raises:
            ModelReplaced: ``order.model`` does not draw any more; nothing was drawn.
            ApiError: whatever else went wrong.
        """
        ...

    async def check(self) -> None:
        """Draw something small; raises ``ApiError`` where that fails."""
        ...


def small_order(facts: ModelFacts) -> Order:
    """One step of one picture, by whoever draws."""
    side = facts.native_size
    return Order("generate", "a red apple", side, side, seeds=(0,), num_inference_steps=1)


async def sign_of_life(drawings: AsyncGenerator[Drawn, None]) -> None:
    """Wait until something is drawn; whoever says that there is too much to do is alive.

    Raises:
        ApiError: what else went wrong.
    """
    try:
        async with aclosing(drawings) as following:
            async for _ in following:
                pass
    except ApiError as error:
        if error.refusal.status != HTTPStatus.TOO_MANY_REQUESTS:
            raise
