"""What a teacher's training set is made of: numbered rows from prompts and the embedded world, and pictures of files.

A numbered row is a pure function of its number, so it can be drawn in any order, also for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ladd_ray.data.items import Item, Shard, chance, pick_task
from ladd_ray.data.prompts import read_prompts
from ladd_ray.data.row_files import ROWS_PER_PIECE
from ladd_ray.data.sources import list_shards
from ladd_ray.data.task_world import row_name, world_item
from ladd_ray.data_sections import EMBEDDED, DataConfig, Size, TaskDataConfig


@dataclass(frozen=True)
class NumberedShard:
    """Rows ``start``, ``start + 1``, ... of the embedded world; those that generate are prompts, where it has any."""

    start: int
    prompts: tuple[str | None, ...]
    """One for each row; None where the world's own picture and caption are to be used."""

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        """The rows in order."""
        for number, prompt in enumerate(self.prompts, self.start):
            yield _numbered(config, number, prompt=prompt)


def training_shards(config: DataConfig) -> list[Shard]:
    """Everything that the set is made of, in a fixed order.

    Raises:
        ValueError: prompts or files are missing or not laid out as they should be.
    """
    files = list_shards(config.pictures) if config.reads_files else []
    if config.reads_files and not config.draws_prompts:
        return files
    # One reading of the prompts, not one for each shard.
    prompts = numbered_rows(config, 0, count=config.num_latents).prompts
    starts = range(0, config.num_latents, ROWS_PER_PIECE)
    return [*(NumberedShard(start, prompts[start : start + ROWS_PER_PIECE]) for start in starts), *files]


def numbered_rows(config: DataConfig, start: int, *, count: int) -> NumberedShard:
    """Rows ``start`` to ``start + count - 1``, which may lie beyond ``num_latents``."""
    if not config.draws_prompts:
        return NumberedShard(start, (None,) * count)
    prompts = read_prompts(config.prompts, count, split="train", seed=config.seed, start=start)
    return NumberedShard(start, tuple(prompts))


def reader_settings(config: DataConfig, *, size: Size | None = None) -> TaskDataConfig:
    """How those shards are to be read; with ``size``, every numbered row has it."""
    settings = config.pictures
    return settings if size is None else settings.model_copy(update={"buckets": (size,)})


def size_of(item: Item, config: TaskDataConfig) -> Size:
    """The picture size that a row without a picture draws."""
    share = chance(str(item.id), "bucket", seed=config.seed)
    return config.buckets[int(share * len(config.buckets))]


def _numbered(config: TaskDataConfig, number: int, *, prompt: str | None) -> Item:
    task = pick_task(config.tasks, chance(row_name("train", number), "task", seed=config.seed))
    # Beside files, numbered rows only bring the prompts.
    if prompt is not None and (task == "generate" or config.source != EMBEDDED):
        return Item(number, False, "generate", prompt, image=b"", source=b"", mask=b"")
    return replace(world_item(config, number, split="train"), id=number)
