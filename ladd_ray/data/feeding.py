"""Batches ordered ahead, whoever makes them, and how long training has waited for them.

A batch is a pure function of its turn. So it does not matter how fast it is made, in which order, or how often a run
was restarted: a resumed run orders the turns that are left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import torch

from ladd_ray.data.batches import BatchStream
from ladd_ray.data.rows import on_device
from ladd_ray.interfaces import LatentBatch


class Turn(NamedTuple):
    """Names one micro batch of one rank."""

    step: int
    micro_step: int
    rank: int
    world_size: int


Pending = Callable[[], LatentBatch]
"""Waits for a batch, which lies on the CPU."""


class Feed(Protocol):
    """Where training gets its batches."""

    stall_seconds: float
    """How long training has waited for batches so far."""

    def batch(
        self, step: int, micro_step: int, *, rank: int, world_size: int, device: torch.device | str
    ) -> LatentBatch:
        """That micro batch, in fp32, on ``device``."""
        ...


class AheadFeed:
    """Keeps some turns ordered ahead of the one that is taken: the buffer between a maker and a trainer."""

    def __init__(self, order: Callable[[Turn], Pending], *, micro_steps: int, num_steps: int, ahead: int) -> None:
        """``order`` begins a turn and returns at once; nothing is ordered beyond the last of ``num_steps``."""
        self.stall_seconds = 0.0
        self._order, self._micro_steps, self._num_steps, self._ahead = order, micro_steps, num_steps, ahead
        self._pending: dict[Turn, Pending] = {}

    def batch(
        self, step: int, micro_step: int, *, rank: int, world_size: int, device: torch.device | str
    ) -> LatentBatch:
        """See ``Feed.batch``; whatever is not among the turns ahead of this one is forgotten."""
        turns = [Turn(*place, rank, world_size) for place in self._places(step, micro_step)]
        known = self._pending
        self._pending = {turn: known[turn] if turn in known else self._order(turn) for turn in turns}
        pending = self._pending.pop(turns[0])
        asked = time.monotonic()
        found = pending()
        self.stall_seconds += time.monotonic() - asked
        return on_device(found, device)

    def _places(self, step: int, micro_step: int) -> list[tuple[int, int]]:
        """Step and micro step of a turn and of those ordered ahead."""
        first = step * self._micro_steps + micro_step
        last = max(first, min(first + self._ahead, self._num_steps * self._micro_steps - 1))
        return [divmod(turn, self._micro_steps) for turn in range(first, last + 1)]


def stored_feed(stream: BatchStream, *, micro_steps: int, num_steps: int) -> AheadFeed:
    """Reads the next micro batch of a stored set while the last one is trained on."""
    reader = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def order(turn: Turn) -> Pending:
        step, micro_step, rank, world_size = turn
        job = reader.submit(stream.batch, step, micro_step, rank=rank, world_size=world_size, device="cpu")
        return job.result

    return AheadFeed(order, micro_steps=micro_steps, num_steps=num_steps, ahead=1)
