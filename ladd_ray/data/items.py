"""Rows before they are encoded: what a source of pictures gives, and the task that each picture gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from ladd_ray.data_sections import TaskDataConfig, TaskShares

Task = Literal["generate", "edit", "inpaint"]


@dataclass(frozen=True)
class Record:
    """One picture of a source. Pictures are the bytes of image files."""

    key: str
    """Names the picture in its source."""
    prompt: str
    """Caption, or the instruction of an edit."""
    image: bytes
    source: bytes = b""
    """The picture before the edit."""
    mask: bytes = b""
    """White where to draw."""


@dataclass(frozen=True)
class Item:
    """One row to encode; plain values, so that it can travel through Ray Data as a row."""

    id: int
    """Names the row in the set and seeds what is drawn for it."""
    heldout: bool
    task: Task
    prompt: str
    image: bytes
    source: bytes
    mask: bytes


class Shard(Protocol):
    """A part of a source that one process reads from front to back."""

    def items(self, config: TaskDataConfig) -> Iterator[Item]: ...


def items_of(record: Record, config: TaskDataConfig) -> Iterator[Item]:
    """The rows that a picture of files gives: each view draws its task, and all lie on one side of the split."""
    heldout = chance(record.key, "heldout", seed=config.seed) < config.heldout_share
    for view in range(config.views):
        name = f"{record.key}/{view}"
        task = _task(record, config.tasks, chance(name, "task", seed=config.seed))
        if task is not None:
            mask = record.mask if task == "inpaint" else b""
            source = record.source if task == "edit" else b""
            yield Item(row_id(name, seed=config.seed), heldout, task, record.prompt, record.image, source, mask)


def pick_task(shares: TaskShares, share: float) -> Task:
    """The task at ``share`` in [0, 1) of the line on which every task has its length."""
    total = shares.generate + shares.edit + shares.inpaint
    if share * total < shares.generate:
        return "generate"
    return "edit" if share * total < shares.generate + shares.edit else "inpaint"


def chance(name: str, purpose: str, *, seed: int) -> float:
    """A number in [0, 1) that belongs to a name: the same everywhere."""
    return row_id(f"{purpose}/{name}", seed=seed) / 2**63


def row_id(name: str, *, seed: int) -> int:
    """63 bits that stand for a name."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _task(record: Record, shares: TaskShares, share: float) -> Task | None:
    """A source makes an edit and a mask a hole to fill; a task without a share is left out."""
    if record.source:
        return "edit" if shares.edit else None
    if record.mask:
        return "inpaint" if shares.inpaint else None
    rest = shares.model_copy(update={"edit": 0.0})
    return pick_task(rest, share) if rest.generate + rest.inpaint else None
