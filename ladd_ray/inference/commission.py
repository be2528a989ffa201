"""One order on its way through a studio: the threads that draw it tell, the event loop hears.

Shape legend: H W height and width of pictures.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ladd_ray.admission import Reservation
from ladd_ray.inference.step_loop import Turn
from ladd_ray.inference.walk import Order, Walk


@dataclass(frozen=True)
class Preparation:
    """How long it took until an order could take its first step, in seconds."""

    prompt_s: float
    """Encoding the prompt."""
    prompt_cached: bool
    prompt_tokens: int
    given_s: float
    """Encoding the picture to start from, and drawing the noise."""


@dataclass(frozen=True)
class Timings:
    """Where the time of one picture went, in seconds."""

    preparation: Preparation
    """Which all pictures of an order share."""
    queue_s: float
    """Waiting: for the preparation, and for the first step."""
    steps_s: tuple[float, ...]
    """Every step, as long as its whole batch took."""
    rows: tuple[int, ...]
    """How many pictures took each of these steps together, this one included."""
    decode_s: float
    """As long as all took that were decoded together."""


@dataclass(frozen=True, eq=False)
class Developed:
    """Latents as a picture."""

    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    seconds: float
    """Decoding it, with all that were decoded together."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture of an order, done or as far as it has come."""

    index: int
    """Place among the seeds of the order."""
    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    partial: int | None = None
    """Which of the previews it is, from 0; None when it is done."""
    sigmas: tuple[float, ...] = ()
    """Levels that it will have visited, with the final 0."""
    timings: Timings | None = None
    """Of a picture that is done."""


def preview_steps(num_steps: int, num_previews: int) -> tuple[int, ...]:
    """After which of the steps 1 to ``num_steps`` a picture is shown before it is done: evenly, at most after each."""
    count = min(num_previews, num_steps - 1)
    return tuple(round((index + 1) * num_steps / (count + 1)) for index in range(count))


class Commission:
    """An order somebody waits for. Made in the event loop that hears of it."""

    def __init__(self, order: Order, *, num_previews: int, reservation: Reservation) -> None:
        self.order, self.reservation = order, reservation
        self.previews = preview_steps(order.num_inference_steps, num_previews)
        self.asked = time.monotonic()
        self._is_open = True
        self._developing: set[Future[Developed]] = set()
        self._left = len(order.seeds)
        self._inbox: asyncio.Queue[Drawn | Exception] = asyncio.Queue()
        self._events = asyncio.get_running_loop()

    def tell(self, news: Drawn | Exception) -> None:
        """From any thread."""
        if self._is_open:
            self._events.call_soon_threadsafe(self._inbox.put_nowait, news)

    async def hear(self) -> Drawn | None:
        """The next picture; None after the last one. Raises what went wrong."""
        if self._left == 0:
            return None
        news = await self._inbox.get()
        if isinstance(news, Exception):
            raise news
        self._left -= news.partial is None
        return news

    def develop(self, developing: Future[Developed], tell: Callable[[Future[Developed]], None]) -> None:
        """Somebody waits for this picture, and ``tell`` hears of it; from the loop's thread."""
        self._developing.add(developing)
        developing.add_done_callback(tell)
        if not self._is_open:
            developing.cancel()

    def close(self) -> None:
        """Nobody waits any more."""
        self._is_open = False
        self.reservation.close()
        for developing in tuple(self._developing):
            developing.cancel()


class Sitting:
    """One picture of a commission: listens to its steps, and has it decoded when it is time to show it."""

    def __init__(
        self,
        commission: Commission,
        index: int,
        *,
        walk: Walk,
        preparation: Preparation,
        develop: Callable[[Walk], Future[Developed]],
    ) -> None:
        self.commission, self.walk = commission, walk
        self._index, self._preparation, self._develop = index, preparation, develop
        self._turns: list[Turn] = []

    def stepped(self, turn: Turn, *, steps_left: int) -> None:
        self._turns.append(turn)
        self._spend()
        if steps_left == 0 or len(self._turns) in self.commission.previews:
            # The walk goes on while its preview is decoded: what is shown is where it stands now.
            walk = copy.copy(self.walk)
            self.commission.develop(self._develop(walk), partial(self._show, walk, done=steps_left == 0))

    def failed(self, error: Exception) -> None:
        self.commission.tell(error)

    def _show(self, walk: Walk, developing: Future[Developed], *, done: bool) -> None:
        if developing.cancelled():
            return
        error = developing.exception()
        if error is not None:
            assert isinstance(error, Exception), "decoding raises nothing else"
            self.commission.tell(error)
            return
        developed = developing.result()
        drawn = Drawn(self._index, developed.pixels, sigmas=walk.sigmas)
        if done:
            self._spend()
            drawn = replace(drawn, timings=self._timings(decode_s=developed.seconds))
        else:
            drawn = replace(drawn, partial=self.commission.previews.index(walk.step))
        self.commission.tell(drawn)

    def _spend(self) -> None:
        """A step is done, or what counts as one."""
        order = self.commission.order
        self.commission.reservation.spend(order.height * order.width)

    def _timings(self, *, decode_s: float) -> Timings:
        before = self._turns[0].began - self.commission.asked
        preparation = self._preparation
        return Timings(
            preparation,
            queue_s=max(0.0, before - preparation.prompt_s - preparation.given_s),
            steps_s=tuple(turn.seconds for turn in self._turns),
            rows=tuple(turn.rows for turn in self._turns),
            decode_s=decode_s,
        )
