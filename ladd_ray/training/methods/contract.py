"""What the training loop asks of a method of distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ladd_ray.algorithm.health import Verdict
from ladd_ray.interfaces import LatentBatch, TrainableNetwork, Update


@dataclass(frozen=True)
class StepReport:
    """What one micro batch did."""

    metrics: Mapping[str, Tensor]
    """Detached scalars, on the device; the same names on every rank, and not always the same in every step."""
    updates: Mapping[str, Update]
    """Of the networks that learned, by their names in ``Method.trainable``."""
    verdict: Verdict | None = None
    """What the heads said, where there are heads; figures are made of it only for points that are logged."""


class Method(Protocol):
    """The networks of a run and what one micro batch does with them."""

    @property
    def student(self) -> TrainableNetwork:
        """The network that is exported."""
        ...

    @property
    def trainable(self) -> dict[str, TrainableNetwork]:
        """Those that learn, by their names in a checkpoint; "student" is always there."""
        ...

    def step(self, batch: LatentBatch, *, step: int) -> StepReport:
        """One micro batch of the optimizer step ``step``. Who trains is decided here and nowhere else."""
        ...
