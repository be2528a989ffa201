"""Batches ordered ahead: which, how many, and how long training waits for them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
import torch

from ladd_ray.data.batches import BatchStream
from ladd_ray.data.feeding import AheadFeed, Pending, Turn, stored_feed
from ladd_ray.data.rows import Wanted
from ladd_ray.data.task_set import open_tasks
from ladd_ray.interfaces import Condition, LatentBatch
from tests.data.stored import row, write_set

MICRO_STEPS, STEPS = 2, 3


def batch_of(turn: Turn) -> LatentBatch:
    value = torch.full((1, 1, 2, 2), turn.step * 10.0 + turn.micro_step)
    return LatentBatch(value, Condition(torch.zeros(1, 1, 1), torch.zeros(1, 1)), (turn.step,))


class Orders:
    """Remembers what was ordered; a batch is made when it is waited for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.turns: list[tuple[int, int]] = []
        self._seconds = seconds

    def __call__(self, turn: Turn) -> Pending:
        self.turns.append((turn.step, turn.micro_step))
        return partial(self._wait, turn)

    def _wait(self, turn: Turn) -> LatentBatch:
        time.sleep(self._seconds)
        return batch_of(turn)


def take(feed: AheadFeed, step: int, micro_step: int) -> float:
    return float(feed.batch(step, micro_step, rank=0, world_size=1, device="cpu").latents[0, 0, 0, 0])


def test_turns_are_ordered_once_and_never_beyond_the_end() -> None:
    orders = Orders()
    feed = AheadFeed(orders, micro_steps=MICRO_STEPS, num_steps=STEPS, ahead=2)
    assert take(feed, 0, 0) == 0
    assert orders.turns == [(0, 0), (0, 1), (1, 0)]
    rest = [(step, micro_step) for step in range(STEPS) for micro_step in range(MICRO_STEPS)][1:]
    assert [take(feed, *turn) for turn in rest] == [10.0 * step + micro_step for step, micro_step in rest]
    assert orders.turns == [(0, 0), *rest]


def test_a_resumed_run_orders_what_is_left() -> None:
    orders = Orders()
    feed = AheadFeed(orders, micro_steps=MICRO_STEPS, num_steps=STEPS, ahead=1)
    assert take(feed, 2, 0) == 20
    assert orders.turns == [(2, 0), (2, 1)]


def test_without_a_buffer_a_batch_is_made_when_it_is_wanted() -> None:
    orders = Orders()
    feed = AheadFeed(orders, micro_steps=1, num_steps=STEPS, ahead=0)
    take(feed, 0, 0)
    assert orders.turns == [(0, 0)]


def test_time_spent_waiting_is_counted() -> None:
    slow, quick = (AheadFeed(Orders(seconds), micro_steps=1, num_steps=STEPS, ahead=1) for seconds in (0.05, 0.0))
    for feed in (slow, quick):
        take(feed, 0, 0)
        take(feed, 1, 0)
    assert 0.1 <= slow.stall_seconds < 1
    assert quick.stall_seconds < 0.05


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_a_stored_feed_gives_what_its_stream_gives(tmp_path: Path, memory_gb: float) -> None:
    folder = write_set(tmp_path, [row(number) for number in range(10)])
    stored = open_tasks(folder, memory_gb=memory_gb, wanted=Wanted())
    stream = BatchStream.over(stored, global_batch_size=4, micro_batch_size=2, seed=0)
    feed = stored_feed(stream, micro_steps=MICRO_STEPS, num_steps=STEPS)
    for step in range(STEPS):
        for micro_step in range(MICRO_STEPS):
            place = {"rank": 0, "world_size": 1, "device": "cpu"}
            ours, theirs = (source.batch(step, micro_step, **place) for source in (feed, stream))  # type: ignore[arg-type]
            assert torch.equal(ours.latents, theirs.latents)
            assert ours.sample_ids == theirs.sample_ids


def test_what_goes_wrong_in_the_reader_is_raised_in_training(tmp_path: Path) -> None:
    folder = write_set(tmp_path, [row(0, latents=torch.full((2, 4, 4), torch.nan)), row(1)])
    stored = open_tasks(folder, memory_gb=1, wanted=Wanted())
    feed = stored_feed(
        BatchStream.over(stored, global_batch_size=2, micro_batch_size=2, seed=0), micro_steps=1, num_steps=1
    )
    with pytest.raises(ValueError, match="not finite"):
        take(feed, 0, 0)
