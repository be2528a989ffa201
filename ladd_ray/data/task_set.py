"""A finished set of rows, as training sees it: by picture size, in memory where it fits, else read row by row.

Shape legend: n rows of one size, b batch, c latent channels, h w latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.data.provenance import require_intact
from ladd_ray.data.rows import Rows, Wanted, on_device
from ladd_ray.data.task_rows import EMBEDDINGS, SIZE, load_empty_prompt
from ladd_ray.interfaces import Condition, LatentBatch

INDEX = ("id", "heldout", *SIZE)
STRENGTHS = ("text_guidance", "image_guidance")

LatentSize = tuple[int, int, int]
"""Channels, height and width of latents."""


class Place(NamedTuple):
    """Where a row lies."""

    file: Path
    group: int
    """Row group of the file."""
    offset: int
    """Row in the group."""


class Column(NamedTuple):
    """How a row's tensor lies in a file."""

    shape: tuple[int, ...]
    dtype: type
    missing: int | None
    """What stands in for an empty one; None where there is no such thing."""


@dataclass(frozen=True)
class Bucket:
    """All rows of one picture size."""

    size: LatentSize
    places: tuple[Place, ...]
    """In the order of their ids."""
    empty_prompt: Condition
    wanted: Wanted
    in_memory: bool
    """Read all rows once, else those of a batch when it comes."""

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, rows: Tensor, *, sample_ids: tuple[int, ...], device: torch.device | str) -> LatentBatch:
        """These rows in fp32, with what the networks read.

        Raises:
            ValueError: latents are not finite.
        """
        found = self._all.pick(rows) if self.in_memory else self._read([self.places[int(row)] for row in rows])
        if not torch.isfinite(found.latents).all():
            raise ValueError(
                f"{self.places[0].file.parent} holds latents that are not finite: make them in fp32 or bf16"
            )
        return on_device(found.batch(sample_ids, self.wanted), device)

    @cached_property
    def _all(self) -> Rows:
        return self._read(self.places)

    def _read(self, places: Sequence[Place]) -> Rows:
        """Each row group is read once, and rows come in the order of ``places``."""
        columns, tensors = self._columns, self._empty(len(places))
        plain = ["real", *STRENGTHS, *(["prompt"] if self.wanted.encode else [])]
        values: dict[str, list[Any]] = {name: [None] * len(places) for name in plain}
        wanted = sorted(range(len(places)), key=lambda index: places[index][:2])
        for (file, group), indices in groupby(wanted, key=lambda index: places[index][:2]):
            with parquet.ParquetFile(file) as opened:
                table = opened.read_row_group(group, columns=[*columns, *plain])
            for index in indices:
                offset = places[index].offset
                for name, column in columns.items():
                    tensors[name][index] = _array(table[name][offset], column, file=file)
                for name in plain:
                    values[name][index] = table[name][offset].as_py()
        return _rows(tensors, values)

    def _empty(self, count: int) -> dict[str, NDArray[Any]]:
        return {name: np.empty((count, *column.shape), column.dtype) for name, column in self._columns.items()}

    @property
    def _columns(self) -> Mapping[str, Column]:
        """A row without a source has one of 0, and one without a mask is drawn everywhere."""
        columns = {"latents": Column(self.size, np.float16, None)}
        if self.wanted.encode is None:
            shapes = (tuple(getattr(self.empty_prompt, name).shape[1:]) for name in EMBEDDINGS)
            columns |= {name: Column(shape, np.float16, None) for name, shape in zip(EMBEDDINGS, shapes, strict=True)}
        if self.wanted.three_tasks:
            columns["source"] = Column(self.size, np.float16, 0)
            columns["mask"] = Column((1, *self.size[1:]), np.bool_, 1)
        return columns


@dataclass(frozen=True)
class TaskSet:
    """One side of the split, by picture size."""

    buckets: tuple[Bucket, ...]
    empty_prompt: Condition
    """One row."""

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)


def open_tasks(
    folder: Path, *, memory_gb: float, wanted: Wanted, heldout: bool = False, most: int | None = None
) -> TaskSet:
    """The training rows of a folder or the held-out ones, in the order of their ids.

    A set that is held in memory is read whole anyway, so every file's SHA-256 is compared on the way; of a larger one
    only the names of the files are.

    Args:
        folder: a finished set.
        memory_gb: a larger folder is not held in memory.
        wanted: what the networks read.
        heldout: which side of the split.
        most: rows that are taken.

    Raises:
        ValueError: the folder is not finished, was changed, or has no such rows.
    """
    files = sorted(folder.glob("*.parquet"))
    fits = sum(file.stat().st_size for file in files) <= memory_gb * 1e9
    require_intact(folder, contents=fits)
    places = [row for file in files for row in _places(file, heldout=heldout)]
    if not places:
        fix = "raise data.heldout_share" if heldout else "give data.source more pictures that fit data.tasks"
        raise ValueError(f"{folder} has no {'held-out' if heldout else 'training'} rows: {fix}")
    by_size: dict[LatentSize, list[Place]] = {}
    for _, size, place in sorted(places)[:most]:
        by_size.setdefault(size, []).append(place)
    empty = load_empty_prompt(folder)
    buckets = (Bucket(size, tuple(found), empty, wanted, in_memory=fits) for size, found in by_size.items())
    return TaskSet(tuple(sorted(buckets, key=lambda bucket: bucket.size)), empty)


def _places(file: Path, *, heldout: bool) -> Iterator[tuple[int, LatentSize, Place]]:
    """Id, size and place of every row on that side of the split."""
    with parquet.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group, columns=list(INDEX))
            columns = (table[name].to_pylist() for name in INDEX)
            for offset, (number, held, *size) in enumerate(zip(*columns, strict=True)):
                if held == heldout:
                    channels, height, width = size
                    yield number, (channels, height, width), Place(file, group, offset)


def _array(value: pa.Scalar, column: Column, *, file: Path) -> NDArray[Any] | int:
    content = value.as_buffer()
    if content.size:
        return np.frombuffer(content, column.dtype).reshape(column.shape)
    assert column.missing is not None, f"a row of {file} has an empty column that no row may be without"
    return column.missing


def _rows(tensors: Mapping[str, NDArray[Any]], values: Mapping[str, list[Any]]) -> Rows:
    found = {name: torch.from_numpy(array) for name, array in tensors.items()}
    return Rows(
        latents=found["latents"],
        sources=found.get("source"),
        masks=found.get("mask"),
        prompt_embeds=found.get("prompt_embeds"),
        pooled_prompt_embeds=found.get("pooled_prompt_embeds"),
        prompts=tuple(values.get("prompt", ())),
        strengths=torch.tensor([values[name] for name in STRENGTHS]).T,
        real=torch.tensor(values["real"]),
    )
