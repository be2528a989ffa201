"""Studios as the HTTP side takes them without Ray, and one whose every step has to be allowed."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import Tensor

from ladd_ray.inference import TeacherPipeline
from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.studio import Studio
from ladd_ray.inference.walk import Order
from serve.artist import CHECK_S, sign_of_life, small_order
from serve.errors import from_drawing

MOST_S = 60.0
"""To wait for anything."""


class LocalArtist:
    """A studio in this process."""

    def __init__(self, studio: Studio, *, facts: ModelFacts) -> None:
        self._studio, self._facts = studio, facts

    async def facts(self, *, within_s: float = CHECK_S) -> ModelFacts:
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
        await sign_of_life(self.draw(small_order(self._facts), num_previews=0, within_s=CHECK_S))


class Steps:
    """A network whose every step has to be allowed."""

    def __init__(self) -> None:
        self.begun = 0
        self._begin, self._may = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, x_sigma: Tensor, *_: object, **__: object) -> Tensor:
        self.begun += 1
        self._begin.release()
        assert self._may.acquire(timeout=MOST_S)
        return x_sigma

    def allow(self, count: int) -> None:
        for _ in range(count):
            self._may.release()

    def wait(self) -> None:
        """Until one more has begun."""
        assert self._begin.acquire(timeout=MOST_S)


@contextmanager
def gated_studio(folder: Path, steps: Steps) -> Iterator[Studio]:
    """Of a model of many steps, none of which it takes by itself."""
    pipeline = TeacherPipeline.from_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "velocity", steps)
        made = Studio(pipeline)
        yield made
        steps.allow(1000)
        made.close()
