"""Which sample comes when: a pure function of seed and position, so that a resumed run continues exactly.

Position counts the samples of the whole run, over all workers. It names a sample's noise as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ladd_ray.data.task_set import Bucket, TaskSet
from ladd_ray.interfaces import LatentBatch


@dataclass(frozen=True)
class Schedule:
    """Deals out the rows of buckets: a step takes rows of one bucket, each as often as its share of all rows.

    Inside a bucket the stream is endless and shuffled, and every epoch has an order of its own.
    """

    bucket_sizes: tuple[int, ...]
    global_batch_size: int
    micro_batch_size: int
    seed: int

    def positions(self, step: int, micro_step: int, *, rank: int, world_size: int) -> range:
        """Positions in the stream of one rank's micro batch.

        All ranks and micro steps of a step together take one contiguous block, whatever their number.
        """
        block = micro_step * world_size + rank
        start = step * self.global_batch_size + block * self.micro_batch_size
        return range(start, start + self.micro_batch_size)

    def rows(self, positions: range) -> tuple[int, torch.Tensor]:
        """The bucket of these positions, which all lie in one step, and their rows in it."""
        step, offset = divmod(positions.start, self.global_batch_size)
        bucket, earlier_steps = self._turn(step)
        start = earlier_steps * self.global_batch_size + offset
        return bucket, torch.tensor([self._row(bucket, start + index) for index in range(len(positions))])

    def _turn(self, step: int) -> tuple[int, int]:
        """The bucket of a step, and how many steps that bucket has had before."""
        turns = torch.tensor(self._turns_per_epoch)
        epoch, place = divmod(step, int(turns.sum()))
        dealt = torch.arange(len(turns)).repeat_interleave(turns)[_order(int(turns.sum()), self.seed, epoch)]
        bucket = int(dealt[place])
        return bucket, epoch * int(turns[bucket]) + int((dealt[:place] == bucket).sum())

    @property
    def _turns_per_epoch(self) -> list[int]:
        return [max(1, round(size / self.global_batch_size)) for size in self.bucket_sizes]

    def _row(self, bucket: int, position: int) -> int:
        size = self.bucket_sizes[bucket]
        epoch, offset = divmod(position, size)
        return int(_order(size, self.seed, epoch)[offset])


@dataclass(frozen=True)
class BatchStream:
    """An endless shuffled stream over stored rows; a step has pictures of one size and mixes tasks."""

    buckets: tuple[Bucket, ...]
    schedule: Schedule

    @classmethod
    def over(cls, stored: TaskSet, *, global_batch_size: int, micro_batch_size: int, seed: int) -> BatchStream:
        """The stream over a whole set."""
        sizes = tuple(len(bucket) for bucket in stored.buckets)
        return cls(stored.buckets, Schedule(sizes, global_batch_size, micro_batch_size, seed))

    def batch(
        self, step: int, micro_step: int, *, rank: int, world_size: int, device: torch.device | str
    ) -> LatentBatch:
        """One rank's micro batch, in fp32, on ``device``."""
        positions = self.schedule.positions(step, micro_step, rank=rank, world_size=world_size)
        bucket, rows = self.schedule.rows(positions)
        return self.buckets[bucket].batch(rows, sample_ids=tuple(positions), device=device)


@lru_cache(maxsize=8)
def _order(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(num_samples, generator=generator)
