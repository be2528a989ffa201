"""A finished set of rows, as training sees it: by picture size, in memory where it fits, else read row by row.

Shape legend: n rows of one size, b batch, c latent channels, h w latent, l prompt tokens, e embedding width,
p pooled width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.algorithm.tasks import inpaint_channels
from ladd_ray.data.provenance import read_facts
from ladd_ray.data.task_rows import SIZE, TaskProvenance, load_empty_prompt
from ladd_ray.interfaces import Condition, LatentBatch

INDEX = ("id", "heldout", *SIZE)


@dataclass(frozen=True)
class Rows:
    """Rows of one picture size, half precision: 15 KB each in the embedded world, 3 MB at 512 px with T5."""

    latents: Tensor
    """(n, c, h, w)."""
    sources: Tensor | None
    """(n, c, h, w), 0 where a row has none; None for a network that only generates."""
    masks: Tensor | None
    """(n, 1, h, w) bool, True where to draw; None for a network that only generates."""
    prompt_embeds: Tensor
    """(n, l, e)."""
    pooled_prompt_embeds: Tensor
    """(n, p)."""

    def pick(self, rows: Tensor) -> Rows:
        """Some of them."""
        return Rows(
            self.latents[rows],
            None if self.sources is None else self.sources[rows],
            None if self.masks is None else self.masks[rows],
            self.prompt_embeds[rows],
            self.pooled_prompt_embeds[rows],
        )


@dataclass(frozen=True)
class Place:
    """Where a row lies."""

    file: Path
    group: int
    """Row group of the file."""
    offset: int
    """Row in the group."""


@dataclass(frozen=True)
class Bucket:
    """All rows of one picture size."""

    size: tuple[int, int, int]
    """(c, h, w)."""
    places: tuple[Place, ...]
    """In the order of their ids."""
    empty_prompt: Condition
    three_tasks: bool
    """Read task channels, which a text-to-image network has no input for."""
    in_memory: bool
    """Read all rows once, else those of a batch when it comes."""

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, rows: Tensor, *, sample_ids: tuple[int, ...], device: torch.device | str) -> LatentBatch:
        """These rows in fp32, with task channels for a network that has three tasks.

        Raises:
            ValueError: latents are not finite.
        """
        found = self._all.pick(rows) if self.in_memory else self._read([self.places[int(row)] for row in rows])
        if not torch.isfinite(found.latents).all():
            raise ValueError(f"{self.places[0].file.parent} holds latents that are not finite: encode in fp32 or bf16")
        channels = None
        if found.sources is not None and found.masks is not None:
            channels = inpaint_channels(found.sources, found.masks)
        prompt = Condition(found.prompt_embeds, found.pooled_prompt_embeds, channels)
        return LatentBatch(
            latents=found.latents.to(device, torch.float32),
            prompt=prompt.to(device, torch.float32),
            sample_ids=sample_ids,
        )

    @cached_property
    def _all(self) -> Rows:
        return self._read(self.places)

    def _read(self, places: Sequence[Place]) -> Rows:
        """Each row group is read once, and rows come in the order of ``places``."""
        wanted = sorted(range(len(places)), key=lambda index: (places[index].file, places[index].group))
        columns = self._columns
        arrays: dict[str, NDArray[Any]] = {
            name: np.empty((len(places), *shape), dtype) for name, (shape, dtype, _) in columns.items()
        }
        for (file, group), indices in groupby(wanted, key=lambda index: (places[index].file, places[index].group)):
            with parquet.ParquetFile(file) as opened:
                table = opened.read_row_group(group, columns=list(columns))
            for index in indices:
                for name, (shape, dtype, missing) in columns.items():
                    value = table[name][places[index].offset].as_buffer()
                    arrays[name][index] = np.frombuffer(value, dtype).reshape(shape) if value.size else missing
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Rows(
            tensors["latents"], tensors.get("source"), tensors.get("mask"),
            tensors["prompt_embeds"], tensors["pooled_prompt_embeds"],
        )  # fmt: skip

    @property
    def _columns(self) -> dict[str, tuple[tuple[int, ...], type, int]]:
        """Shape and type of each column's row, and what stands for a missing one: no source, or a hole everywhere."""
        embeds, pooled, _ = self.empty_prompt
        columns: dict[str, tuple[tuple[int, ...], type, int]] = {
            "latents": (self.size, np.float16, 0),
            "prompt_embeds": (tuple(embeds.shape[1:]), np.float16, 0),
            "pooled_prompt_embeds": (tuple(pooled.shape[1:]), np.float16, 0),
        }
        if self.three_tasks:
            columns |= {"source": (self.size, np.float16, 0), "mask": ((1, *self.size[1:]), np.bool_, 1)}
        return columns


@dataclass(frozen=True)
class TaskSet:
    """One side of the split, by picture size."""

    buckets: tuple[Bucket, ...]
    empty_prompt: Condition
    """One row."""

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)


def open_tasks(folder: Path, *, heldout: bool, three_tasks: bool, memory_gb: float, most: int | None = None) -> TaskSet:
    """The training rows of a folder or the held-out ones, in the order of their ids.

    Args:
        folder: a finished set.
        heldout: which side of the split.
        three_tasks: give batches task channels, which a text-to-image network does not read.
        memory_gb: a larger folder is not held in memory.
        most: rows that are taken.

    Raises:
        ValueError: the folder is not finished or has no such rows.
    """
    read_facts(folder, TaskProvenance)
    files = sorted(folder.glob("*.parquet"))
    places = {row: place for file in files for row, place in _places(file, heldout=heldout)}
    if not places:
        fix = "raise data.heldout_share" if heldout else "give data.source more pictures that fit data.tasks"
        raise ValueError(f"{folder} has no {'held-out' if heldout else 'training'} rows: {fix}")
    by_size: dict[tuple[int, int, int], list[Place]] = {}
    for (_, size), place in sorted(places.items(), key=lambda entry: entry[0])[:most]:
        by_size.setdefault(size, []).append(place)
    empty = load_empty_prompt(folder)
    fits = sum(file.stat().st_size for file in files) <= memory_gb * 1e9
    buckets = (
        Bucket(size, tuple(found), empty, three_tasks=three_tasks, in_memory=fits) for size, found in by_size.items()
    )
    return TaskSet(tuple(sorted(buckets, key=lambda bucket: bucket.size)), empty)


def _places(file: Path, *, heldout: bool) -> Iterator[tuple[tuple[int, tuple[int, int, int]], Place]]:
    """Id, size and place of every row on that side of the split."""
    with parquet.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            columns = (opened.read_row_group(group, columns=list(INDEX))[name].to_pylist() for name in INDEX)
            for offset, (number, held, *size) in enumerate(zip(*columns, strict=True)):
                if held == heldout:
                    channels, height, width = size
                    yield (number, (channels, height, width)), Place(file, group, offset)
