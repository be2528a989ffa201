"""What the gateway needs of a model, wherever that is: facts, pictures, and a sign of life."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.studio import Studio
from ladd_ray.inference.walk import Order

from .errors import from_drawing


class Artist(Protocol):
    """A model that draws."""

    async def facts(self) -> ModelFacts:
        """What it can do; waits until it is loaded."""
        ...

    def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        """As ``Studio.draw``, but for the errors.

        Raises:
            ApiError: whatever went wrong.
        """
        ...

    async def check(self) -> None:
        """Draw something small; raises ``ApiError`` where that fails."""
        ...


class LocalArtist:
    """A studio in this process."""

    def __init__(self, studio: Studio, *, facts: ModelFacts) -> None:
        self._studio, self._facts = studio, facts

    async def facts(self) -> ModelFacts:
        return self._facts

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        drawings = self._studio.draw(order, num_previews=num_previews, within_s=within_s)
        try:
            async for drawn in drawings:
                yield drawn
        except Exception as error:
            raise from_drawing(error) from error
        finally:
            await drawings.aclose()

    async def check(self) -> None:
        async for _ in self.draw(small_order(self._facts), num_previews=0, within_s=CHECK_S):
            pass


CHECK_S = 30.0
"""Seconds that a sign of life may take."""


def small_order(facts: ModelFacts) -> Order:
    """One step of one picture."""
    side = facts.native_size
    return Order("generate", "a red apple", side, side, seeds=(0,), num_inference_steps=1)
