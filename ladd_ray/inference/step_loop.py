"""The loop that steps: one thread that owns the network, and a door through which entries join and leave.

What is stepped is up to the caller: ``advance`` takes a batch of items. Nothing here waits for anything but work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from ladd_ray.inference.scheduling import BatchLimits, Entry, Scheduler

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Turn:
    """One forward."""

    began: float
    """On the loop's clock."""
    seconds: float
    rows: int
    pixels: int


class Listener(Protocol):
    """What happens to an entry; called in the loop's thread, so it must be quick."""

    def stepped(self, turn: Turn, *, steps_left: int) -> None:
        """It took a step; with none left, it is out of the loop."""
        ...

    def failed(self, error: Exception) -> None:
        """It is out of the loop before its end: a ``TimeoutError`` past its deadline, or what the step raised."""
        ...


@dataclass(frozen=True, eq=False)
class Member(Generic[Item]):
    """An item with its listener."""

    item: Item
    listener: Listener


class StepLoop(Generic[Item]):
    """Steps whatever has joined until it is closed."""

    def __init__(
        self,
        advance: Callable[[Sequence[Item]], None],
        *,
        limits: BatchLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread.

        Args:
            advance: One step of a batch of items of one shape.
            limits: Of such batches.
            clock: In seconds; never goes back.
        """
        self.failures = 0
        """Forwards that raised since the last one that did not."""
        self._advance, self._clock = advance, clock
        self._scheduler: Scheduler[Member[Item]] = Scheduler(limits)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="step-loop", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many take part."""
        return len(self._scheduler)

    @property
    def alive(self) -> bool:
        """Whether anything that joins will be stepped."""
        return self._thread.is_alive() and not self._closed

    def join(
        self,
        item: Item,
        listener: Listener,
        *,
        shape: Hashable,
        pixels: int,
        steps: int,
        deadline: float = float("inf"),
    ) -> Entry[Member[Item]]:
        """Take part from the next step on, for so many of them; ``deadline`` is on the loop's clock."""
        member = Member(item, listener)
        entry = Entry(member, shape, pixels, steps, waiting_since=self._clock(), deadline=deadline)
        with self._changed:
            if self._closed:
                raise RuntimeError("the loop is closed: nothing will be drawn any more")
            self._scheduler.add(entry)
            self._changed.notify()
        return entry

    def leave(self, entry: Entry[Member[Item]]) -> None:
        """Take no further step; a step under way is finished, and its listener hears of it."""
        with self._changed:
            self._scheduler.remove(entry)

    def close(self) -> None:
        """End the thread after the step under way."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._wait_for_batch()) is not None:
            if batch:
                self._step(batch)

    def _wait_for_batch(self) -> list[Entry[Member[Item]]] | None:
        """Who steps next, without those whose time is over; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._scheduler) > 0)
            if self._closed:
                return None
            now = self._clock()
            late = self._scheduler.expire(now)
            batch = self._scheduler.next_batch(now)
        for entry in late:
            _tell(partial(entry.item.listener.failed, TimeoutError("the deadline passed before the picture was done")))
        return batch

    def _step(self, batch: list[Entry[Member[Item]]]) -> None:
        began = self._clock()
        try:
            self._advance([entry.item.item for entry in batch])
        except Exception as error:  # noqa: BLE001 - one bad batch must not end everybody's loop
            self._fail(batch, error)
            return
        self.failures = 0
        now = self._clock()
        turn = Turn(began, now - began, rows=len(batch), pixels=sum(entry.pixels for entry in batch))
        for entry in batch:
            self._note_step(entry, turn, now=now)

    def _note_step(self, entry: Entry[Member[Item]], turn: Turn, *, now: float) -> None:
        with self._changed:
            entry.steps_left, entry.waiting_since = entry.steps_left - 1, now
            if entry.steps_left == 0:
                self._scheduler.remove(entry)
        _tell(partial(entry.item.listener.stepped, turn, steps_left=entry.steps_left))

    def _fail(self, batch: list[Entry[Member[Item]]], error: Exception) -> None:
        self.failures += 1
        logger.error("a step of %d rows failed", len(batch), exc_info=error)
        for entry in batch:
            self.leave(entry)
            _tell(partial(entry.item.listener.failed, error))


def _tell(news: Callable[[], None]) -> None:
    """A listener that raises must not end the loop of all others."""
    try:
        news()
    except Exception:
        logger.exception("whoever waited for a step could not be told of it")
