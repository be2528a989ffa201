"""How the heads are entered in their own turn, by every method that has heads."""

from __future__ import annotations

from ladd_ray.config import DiscriminatorConfig
from ladd_ray.interfaces import Heads, TrainableNetwork


def heads_in_turn(heads: TrainableNetwork, config: DiscriminatorConfig) -> Heads:
    """The forward of the heads that are about to learn.

    Exact R1 differentiates that forward once before ``update`` does. DeepSpeed takes the first time for the update's
    own backward: it refuses at ZeRO stage 0, and reduces gradients that are not there at 1 and 2. The bare network
    keeps no such books, and ``update`` finds its gradients all the same.
    """
    return heads.module if config.r1 == "exact" else heads
