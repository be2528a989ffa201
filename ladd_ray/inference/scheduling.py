"""Who takes the next step together: plain bookkeeping that knows neither networks nor threads.

A batch holds entries of one shape, as many as the caps allow. Among the shapes the one with most to do goes first,
which keeps batches full; within a shape those go first that are nearest to their end, which lets short orders pass
long ones. Whoever has waited longer than ``patience_s`` for a step comes before all others, shape and all, oldest
first: so nobody waits without end for a more popular shape or for shorter orders. [ours]
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class BatchLimits:
    """How large one forward may be, and how long anybody waits for it."""

    max_rows: int = 16
    max_pixels: int = 16 * 1024 * 1024
    """Of all rows; a single row may have more."""
    patience_s: float = 0.5

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.max_pixels < 1 or self.patience_s < 0:
            raise ValueError(f"{self} cannot be: a batch has room for at least one row, and patience is not negative")


@dataclass(eq=False)
class Entry(Generic[Item]):
    """Something that wants to step."""

    item: Item
    shape: Hashable
    """Only equal shapes share a forward."""
    pixels: int
    steps_left: int
    waiting_since: float
    """When it last stepped, or joined; seconds of the clock that everything here is told."""
    deadline: float = float("inf")
    """When its result is of no use any more."""


class Scheduler(Generic[Item]):
    """Everything that wants to step."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: dict[Entry[Item], None] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry[Item]) -> None:
        """From now on it takes part."""
        self._entries[entry] = None

    def remove(self, entry: Entry[Item]) -> None:
        """It takes no further step; nothing happens where it is not there any more."""
        self._entries.pop(entry, None)

    def expire(self, now: float) -> list[Entry[Item]]:
        """Takes out whoever is past its deadline."""
        late = [entry for entry in self._entries if now >= entry.deadline]
        for entry in late:
            self.remove(entry)
        return late

    def next_batch(self, now: float) -> list[Entry[Item]]:
        """Who steps now; they stay until they are removed. Empty when nobody is there."""
        groups: dict[Hashable, list[Entry[Item]]] = {}
        for entry in self._entries:
            groups.setdefault(entry.shape, []).append(entry)
        batches = [self._filled(group, now) for group in groups.values()]
        return max(batches, key=lambda batch: self._claim(batch, now), default=[])

    def _filled(self, group: list[Entry[Item]], now: float) -> list[Entry[Item]]:
        """The first of a shape, as many as the caps allow."""
        room = min(self._limits.max_rows, max(1, self._limits.max_pixels // group[0].pixels))
        return sorted(group, key=lambda entry: self._turn(entry, now))[:room]

    def _turn(self, entry: Entry[Item], now: float) -> tuple[bool, float, float]:
        overdue = self._overdue(entry, now)
        return not overdue, entry.waiting_since if overdue else entry.steps_left, entry.waiting_since

    def _claim(self, batch: list[Entry[Item]], now: float) -> tuple[bool, float, float]:
        """Larger goes first. An overdue entry stands at the head of its batch, the oldest first."""
        head = batch[0]
        overdue, oldest = self._overdue(head, now), min(entry.waiting_since for entry in batch)
        return overdue, -head.waiting_since if overdue else sum(entry.pixels for entry in batch), -oldest

    def _overdue(self, entry: Entry[Item], now: float) -> bool:
        return now - entry.waiting_since > self._limits.patience_s
