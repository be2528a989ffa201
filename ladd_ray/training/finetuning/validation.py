"""The flow-matching loss of held-out rows by task and noise level, under the moving average.

Every row is seen once in each quarter of the noise levels, always at the same level and under the same noise, so that
two networks compare. Nothing is left out of the conditions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.flow_matching import Draw, flow_matching_loss
from ladd_ray.algorithm.tasks import TASKS, task_of
from ladd_ray.data.rows import Wanted
from ladd_ray.data.task_set import TaskSet, open_tasks
from ladd_ray.interfaces import Engine, LatentBatch, TrainableNetwork
from ladd_ray.pretrain_config import FinetuneConfig

BINS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Ranges of the noise level sigma."""


@dataclass(frozen=True)
class Validation:
    """Held-out rows in memory, and how they are looked at."""

    stored: TaskSet
    batch_size: int
    seed: int

    @classmethod
    def over(cls, config: FinetuneConfig, encoded: Path) -> Validation:
        """The first held-out rows of an encoded set."""
        stored = open_tasks(
            encoded,
            heldout=True,
            memory_gb=config.data.memory_gb,
            wanted=Wanted(three_tasks=config.model.three_tasks),
            most=config.validation.max_rows,
        )
        size = min(config.validation.batch_size, max(len(bucket) for bucket in stored.buckets))
        return cls(stored, size, config.data.seed)

    def losses(self, network: TrainableNetwork, engine: Engine) -> dict[str, float]:
        """``validation/loss``, and ``validation/<task>/sigma_<low>_<high>`` of tasks that are there; collective."""
        sums = torch.zeros(2, len(TASKS), len(BINS), dtype=torch.float64, device=engine.device)
        empty_prompt = self.stored.empty_prompt.to(engine.device)
        with network.ema_weights() as module, torch.no_grad():
            for batch, weights in self._share(engine):
                tasks = task_of(batch.prompt)
                for number, levels in enumerate(BINS):
                    drawn = self._draw(batch, levels)
                    terms = flow_matching_loss(module, batch, drawn=drawn, empty_prompt=empty_prompt)
                    sums[0, :, number].index_add_(0, tasks, terms.rows.double() * weights)
                    sums[1, :, number].index_add_(0, tasks, weights)
        return _by_name(sums, engine)

    def _share(self, engine: Engine) -> Iterator[tuple[LatentBatch, Tensor]]:
        """This rank's rows, and 1 for each (0 for filling).

        All ranks make as many batches, because sharded networks need all of them at each forward.
        """
        first_id, size = 0, self.batch_size
        for bucket in self.stored.buckets:
            for start in range(0, len(bucket), size * engine.world_size):
                places = start + engine.rank * size + torch.arange(size)
                rows = places.clamp(max=len(bucket) - 1)
                ids = tuple((first_id + rows).tolist())
                yield (
                    bucket.batch(rows, sample_ids=ids, device=engine.device),
                    (places == rows).double().to(engine.device),
                )
            first_id += len(bucket)

    def _draw(self, batch: LatentBatch, levels: tuple[float, float]) -> Draw:
        """A level within the range and noise for every row."""
        low, high = levels
        uniform = noise.uniform(seed=self.seed, purpose=f"validation_level/{low}", sample_ids=batch.sample_ids)
        shape = batch.latents.shape[1:]
        gaussian = noise.gaussian(shape, seed=self.seed, purpose="validation", sample_ids=batch.sample_ids)
        nothing = torch.zeros(len(batch.latents), dtype=torch.bool, device=batch.latents.device)
        return Draw((low + (high - low) * uniform).to(batch.latents), gaussian.to(batch.latents), nothing, nothing)


def _by_name(sums: Tensor, engine: Engine) -> dict[str, float]:
    flat = {str(index): value for index, value in enumerate(sums.flatten().tolist())}
    total = torch.tensor(list(map(engine.mean(flat).__getitem__, flat))).view_as(sums)
    means = total[0] / total[1]
    by_task = {
        f"validation/{task}/sigma_{low:g}_{high:g}": float(means[row, column])
        for row, task in enumerate(TASKS)
        for column, (low, high) in enumerate(BINS)
        if total[1, row, column]
    }
    return {"validation/loss": float(total[0].sum() / total[1].sum()), **by_task}
