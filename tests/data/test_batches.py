"""Which sample comes when: a function of seed and step, whatever the number of workers."""

from __future__ import annotations

import pytest
import torch

from ladd_ray.data.batches import BatchStream, Schedule
from ladd_ray.data.rows import Wanted
from ladd_ray.data.task_set import TaskSet, open_tasks
from tests.data.stored import row, write_set

NUM_STORED, GLOBAL = 10, 4
LAYOUTS = [(1, 1), (1, 4), (2, 2), (4, 1), (2, 1), (1, 2)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    """Every value of row r is r, so that a batch shows its rows."""
    folder = write_set(tmp_path_factory.mktemp("stored"), [row(number) for number in range(NUM_STORED)])
    return open_tasks(folder, memory_gb=1, wanted=Wanted())


def stream(stored: TaskSet, *, world_size: int = 1, accumulation: int = 1, seed: int = 0) -> BatchStream:
    micro = GLOBAL // (world_size * accumulation)
    return BatchStream.over(stored, global_batch_size=GLOBAL, micro_batch_size=micro, seed=seed)


def rows_of(source: BatchStream, step: int) -> list[int]:
    batch = source.batch(step, 0, rank=0, world_size=1, device="cpu")
    return [int(row) for row in batch.latents[:, 0, 0, 0]]


@pytest.mark.parametrize(("world_size", "accumulation"), LAYOUTS)
def test_a_step_takes_one_contiguous_block(stored: TaskSet, world_size: int, accumulation: int) -> None:
    source = stream(stored, world_size=world_size, accumulation=accumulation)
    for step in range(4):
        taken = [
            position
            for micro_step in range(accumulation)
            for rank in range(world_size)
            for position in source.schedule.positions(step, micro_step, rank=rank, world_size=world_size)
        ]
        assert taken == list(range(GLOBAL * step, GLOBAL * (step + 1)))


@pytest.mark.parametrize(("world_size", "accumulation"), LAYOUTS)
def test_every_layout_sees_the_same_global_batch(stored: TaskSet, world_size: int, accumulation: int) -> None:
    source = stream(stored, world_size=world_size, accumulation=accumulation)
    whole = stream(stored).batch(7, 0, rank=0, world_size=1, device="cpu")
    parts = [
        source.batch(7, micro_step, rank=rank, world_size=world_size, device="cpu")
        for micro_step in range(accumulation)
        for rank in range(world_size)
    ]
    assert torch.equal(torch.cat([part.latents for part in parts]), whole.latents)
    assert [number for part in parts for number in part.sample_ids] == list(whole.sample_ids)


def test_every_epoch_is_another_permutation(stored: TaskSet) -> None:
    source = stream(stored)
    seen = [row for step in range(5) for row in rows_of(source, step)]
    first, second = seen[:NUM_STORED], seen[NUM_STORED:]
    assert sorted(first) == sorted(second) == list(range(NUM_STORED))
    assert first != second
    assert first != sorted(first)


def test_order_follows_from_the_seed(stored: TaskSet) -> None:
    orders = [[row for step in range(5) for row in rows_of(stream(stored, seed=seed), step)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_sample_keeps_its_prompt_and_comes_in_fp32(stored: TaskSet) -> None:
    batch = stream(stored).batch(3, 0, rank=0, world_size=1, device="cpu")
    rows = batch.latents[:, 0, 0, 0]
    assert torch.equal(batch.prompt.prompt_embeds[:, 0, 0], rows)
    assert torch.equal(batch.prompt.pooled_prompt_embeds[:, 0], rows)
    assert {batch.latents.dtype, *(tensor.dtype for tensor in batch.prompt[:2])} == {torch.float32}


def test_numbers_of_samples_go_on_beyond_an_epoch(stored: TaskSet) -> None:
    """They seed the noise: a picture seen twice must not meet the same noise twice."""
    batches = [stream(stored).batch(step, 0, rank=0, world_size=1, device="cpu") for step in range(20)]
    assert [number for batch in batches for number in batch.sample_ids] == list(range(80))


SIZES = (23, 9, 2)


def taken(step: int, *, world_size: int = 1, accumulation: int = 1) -> tuple[set[int], list[int]]:
    """Buckets and rows of a whole step, in the order of positions."""
    schedule = Schedule(SIZES, GLOBAL, GLOBAL // (world_size * accumulation), seed=1)
    dealt = [
        schedule.rows(schedule.positions(step, micro_step, rank=rank, world_size=world_size))
        for micro_step in range(accumulation)
        for rank in range(world_size)
    ]
    return {bucket for bucket, _ in dealt}, [int(row) for _, rows in dealt for row in rows]


@pytest.mark.parametrize(("world_size", "accumulation"), LAYOUTS)
def test_a_step_takes_one_bucket_in_every_layout(world_size: int, accumulation: int) -> None:
    for step in range(30):
        buckets, rows = taken(step, world_size=world_size, accumulation=accumulation)
        assert len(buckets) == 1
        assert (buckets, rows) == taken(step)


def test_buckets_come_as_often_as_their_size_and_every_row_of_one_as_often_as_the_others() -> None:
    turns = [max(1, round(size / GLOBAL)) for size in SIZES]
    seen: list[list[int]] = [[] for _ in SIZES]
    epochs = 23
    for step in range(epochs * sum(turns)):
        buckets, rows = taken(step)
        seen[buckets.pop()] += rows
    for size, turn, rows in zip(SIZES, turns, seen, strict=True):
        assert len(rows) == epochs * turn * GLOBAL
        counts = [rows.count(row) for row in range(size)]
        assert max(counts) - min(counts) <= 1
        assert sorted(rows[:size]) == list(range(size))
