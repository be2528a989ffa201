"""Rows of the embedded world: scenes, edits and holes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.data.edits import edit
from ladd_ray.data.items import Item, Shard, chance, pick_task, row_id
from ladd_ray.data.masks import inpainting_mask
from ladd_ray.data.stickers import Split, render, scene
from ladd_ray.data_sections import TaskDataConfig

ROWS_PER_SHARD = 512
ROWS_LOOKED_AT = 32
"""For a fingerprint."""


@dataclass(frozen=True)
class WorldShard:
    """Rows ``start`` to ``stop - 1`` of one split."""

    split: Split
    start: int
    stop: int

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        """Each row draws its task and its picture size."""
        for index in range(self.start, self.stop):
            yield world_item(config, index, split=self.split)


def world_shards(config: TaskDataConfig) -> list[Shard]:
    """``num_rows`` training rows, and the held-out share of that number beside them."""
    held = max(1, round(config.heldout_share * config.num_rows)) if config.heldout_share else 0
    counts: dict[Split, int] = {"train": config.num_rows, "heldout": held}
    return [
        WorldShard(split, start, min(start + ROWS_PER_SHARD, count))
        for split, count in counts.items()
        for start in range(0, count, ROWS_PER_SHARD)
    ]


def row_name(split: Split, index: int) -> str:
    """Names a row, for what is drawn for it."""
    return f"{split}/{index}"


def world_item(config: TaskDataConfig, index: int, *, split: Split) -> Item:
    """A row of the world, which draws its task and its picture size."""
    name, seed = row_name(split, index), config.seed
    task = pick_task(config.tasks, chance(name, "task", seed=seed))
    height, width = config.buckets[int(chance(name, "bucket", seed=seed) * len(config.buckets))]
    prompt, image, source, mask = "", b"", b"", b""
    if task == "edit":
        change = edit(seed, index, split=split, height=height, width=width)
        prompt, image, source = change.instruction, _png(render(change.target)), _png(render(change.source))
    else:
        drawn = scene(seed, index, split=split, height=height, width=width)
        prompt, image = drawn.caption, _png(render(drawn))
        if task == "inpaint":
            mask = _png(inpainting_mask(seed, index, drawn).astype(np.uint8) * 255)
    return Item(row_id(name, seed=seed), split == "heldout", task, prompt, image, source, mask)


def world_fingerprint(config: TaskDataConfig) -> str:
    """16 hex digits that change when the world's code makes other rows of the same settings; told by the first ones."""
    digest = hashlib.sha256()
    for index in range(ROWS_LOOKED_AT):
        item = world_item(config, index, split="train")
        digest.update(f"{item.task}/{item.prompt}".encode())
        for picture in (item.image, item.source, item.mask):
            # Pixels, for equal ones are not compressed alike everywhere.
            digest.update(Image.open(io.BytesIO(picture)).tobytes() if picture else b"")
    return digest.hexdigest()[:16]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
