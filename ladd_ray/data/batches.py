"""Which sample comes when: a pure function of seed and position, so that a resumed run continues exactly.

Position counts the samples of the whole run, over all workers. It names a sample's noise as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ladd_ray.data.latents import StoredLatents
from ladd_ray.interfaces import Condition, LatentBatch


@dataclass(frozen=True)
class BatchStream:
    """An endless shuffled stream over stored latents; every epoch has an order of its own."""

    stored: StoredLatents
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

    def batch(
        self, step: int, micro_step: int, *, rank: int, world_size: int, device: torch.device | str
    ) -> LatentBatch:
        """That micro batch, in fp32, on ``device``."""
        positions = self.positions(step, micro_step, rank=rank, world_size=world_size)
        rows = torch.tensor([self._row(position) for position in positions])
        prompt = Condition(self.stored.prompt_embeds[rows], self.stored.pooled_prompt_embeds[rows])
        return LatentBatch(
            latents=self.stored.latents[rows].to(device, torch.float32),
            prompt=prompt.to(device, torch.float32),
            sample_ids=tuple(positions),
        )

    def _row(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.stored))
        return int(_order(len(self.stored), self.seed, epoch)[offset])


@lru_cache(maxsize=2)
def _order(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(num_samples, generator=generator)
