"""Moving average of weights: kept in fp32, over whole parameters or over this rank's shards alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

OpenWeights = Callable[[], AbstractContextManager[Mapping[str, Tensor]]]
"""Opens local weights for writing, as many times as it is called."""


class MovingAverage:
    """Exponential moving average of named tensors.

    Averages of shards are shards of the average, so nothing is gathered while training. After n updates the
    decay is ``min(decay, (1 + n) / (10 + n))``, so that the first weights do not linger (TensorFlow's rule).
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.shadows = {name: weight.detach().float().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Moves the average towards ``weights``."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, shadow in self.shadows.items():
            shadow.lerp_(weights[name].float(), 1 - decay)
        self.num_updates += 1

    @contextmanager
    def swapped(self, open_weights: OpenWeights) -> Iterator[None]:
        """The weights hold the average inside the block and themselves again after it."""
        with open_weights() as weights:
            kept = {name: weights[name].clone() for name in self.shadows}
            _copy(self.shadows, weights)
        try:
            yield
        finally:
            with open_weights() as weights:
                _copy(kept, weights)

    def state_dict(self) -> dict[str, Any]:
        """Number of updates and fp32 averages."""
        return {"num_updates": self.num_updates, "shadows": self.shadows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` gave.

        Raises:
            ValueError: the names differ from those of this network.
        """
        if state["shadows"].keys() != self.shadows.keys():
            different = sorted(state["shadows"].keys() ^ self.shadows.keys())
            raise ValueError(f"the moving average is of another network; names that differ: {different[:5]}")
        self.num_updates = state["num_updates"]
        _copy(state["shadows"], self.shadows)


def reshard(shards: Sequence[Tensor], *, numel: int, rank: int, world_size: int) -> Tensor:
    """This rank's padded piece of a tensor of ``numel`` values that was cut for another number of ranks."""
    whole = torch.cat(list(shards))[:numel]
    size = -(-numel // world_size)
    return functional.pad(whole, (0, size * world_size - numel))[rank * size : (rank + 1) * size]


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)
