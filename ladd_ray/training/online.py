"""Rows drawn while training: teacher actors beside the training workers, and the orders that keep them busy.

Every worker orders a few micro batches ahead, and no more: that is the bounded buffer. Row number n of the run is the
same whoever draws it and when, so a resumed run goes on exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ladd_ray.config import Config
from ladd_ray.data.batches import Schedule
from ladd_ray.data.feeding import AheadFeed, Pending, Turn
from ladd_ray.data.items import chance
from ladd_ray.data.rows import Rows, Wanted
from ladd_ray.data_sections import Size
from ladd_ray.interfaces import LatentBatch
from ladd_ray.training.teaching import Teacher

Draw = Callable[[range, Size], Callable[[], Rows]]
"""Orders numbered rows of one size; what it returns waits for them."""


class OnlineTeacher:
    """A teacher in an actor of its own."""

    def __init__(self, config: Config) -> None:
        self._teacher = Teacher(config)

    def draw(self, numbers: range, size: Size) -> Rows:
        """Rows by their numbers in the stream."""
        return Rows.of(self._teacher.numbered(numbers, size=size))


@contextmanager
def teachers_of(config: Config) -> Iterator[None]:
    """Teacher actors for the workers of a run to find by name, if it wants any; they end with the block."""
    import ray

    run = config.run
    actors: list[Any] = [
        ray.remote(OnlineTeacher)
        .options(
            name=_name(config, number),
            num_cpus=run.threads_per_worker,
            num_gpus=1 if run.device == "gpu" else 0,
            # A lost teacher is started again, and what it owed is drawn again: rows do not depend on who draws them.
            # Not for ever: one that dies each time, for want of memory, would keep the workers waiting in silence.
            max_restarts=run.max_failures,
            max_task_retries=-1,
        )
        .remote(config)
        for number in range(config.data.teachers_beside)
    ]
    try:
        yield
    finally:
        for actor in actors:
            ray.kill(actor)


def online_feed(config: Config, *, wanted: Wanted) -> AheadFeed:
    """The endless stream of a run; without workers the teacher draws in this process, when a batch is wanted."""
    run = config.run
    schedule = Schedule((run.global_batch_size,), run.global_batch_size, run.micro_batch_size, run.seed)
    draw = _draw_on_actors(config) if run.num_workers else _draw_here(config)

    def order(turn: Turn) -> Pending:
        numbers = schedule.positions(turn.step, turn.micro_step, rank=turn.rank, world_size=turn.world_size)
        return partial(_batch, draw(numbers, _size(config, turn.step)), tuple(numbers), wanted)

    ahead = config.data.online_buffer if run.num_workers else 0
    return AheadFeed(order, micro_steps=run.gradient_accumulation_steps, num_steps=run.steps, ahead=ahead)


def _draw_on_actors(config: Config) -> Draw:
    import ray

    actors = [ray.get_actor(_name(config, number)) for number in range(config.data.online_teachers)]

    def draw(numbers: range, size: Size) -> Callable[[], Rows]:
        # Neighbouring micro batches go to different teachers, of one rank and of all ranks.
        chosen = actors[numbers.start // len(numbers) % len(actors)]
        return partial(_arrived, chosen.draw.remote(numbers, size))

    return draw


def _arrived(reference: Any) -> Rows:
    import ray

    rows: Rows = ray.get(reference)
    return rows


def _draw_here(config: Config) -> Draw:
    teacher = OnlineTeacher(config)
    return lambda numbers, size: partial(teacher.draw, numbers, size)


def _batch(wait: Callable[[], Rows], numbers: tuple[int, ...], wanted: Wanted) -> LatentBatch:
    return wait().batch(numbers, wanted)


def _size(config: Config, step: int) -> Size:
    """A step has pictures of one size."""
    sizes = config.data.sizes
    return sizes[int(chance(str(step), "size of a step", seed=config.data.seed) * len(sizes))]


def _name(config: Config, number: int) -> str:
    return f"teacher {number} of {config.run_directory}"
