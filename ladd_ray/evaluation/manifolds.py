"""Precision and recall: how many pictures look real, and how much of what is real is drawn at all.

Kynkäänniemi et al. 2019 (arXiv 1904.06991): a set spans the balls around its features that reach to the k-th nearest
neighbour.

Shapes: n and m pictures of two sets, d features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.scores import require_sets

NUM_NEIGHBOURS = 3
"""The paper's k."""
DEFINITION = (
    "precision: share of pictures inside the reference's manifold; recall: share of the reference inside theirs; "
    f"manifolds of balls to the {NUM_NEIGHBOURS}rd nearest neighbour; both grow and fall with the number of pictures"
)


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares from 0 to 1; two sets of one distribution do not reach 1 either."""

    precision: float
    recall: float
    num_reference: int
    num_generated: int
    name: str = f"precision and recall-{EffNetLite0Features.name}"
    definition: str = DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def precision_recall(reference: Tensor, generated: Tensor, *, num_neighbours: int = NUM_NEIGHBOURS) -> PrecisionRecall:
    """Compare features (n, d) and (m, d), in float64; memory grows with the product of n and m.

    Raises:
        ValueError: a set has no more pictures than neighbours, or fewer than four, or the numbers of features differ.
    """
    require_sets(reference, generated)
    if min(len(reference), len(generated)) <= num_neighbours:
        raise ValueError(f"{num_neighbours} neighbours need more than {num_neighbours} pictures in each set")
    first, second = reference.double(), generated.double()
    across = torch.cdist(first, second)
    return PrecisionRecall(
        precision=_covered(across, _radii(first, num_neighbours)),
        recall=_covered(across.T, _radii(second, num_neighbours)),
        num_reference=len(reference),
        num_generated=len(generated),
    )


def _radii(features: Tensor, num_neighbours: int) -> Tensor:
    """Distance (n) of each picture to its k-th nearest neighbour."""
    distances = torch.cdist(features, features)
    # A picture is its own neighbour at distance 0, which is not counted.
    distances.fill_diagonal_(0)
    return distances.kthvalue(num_neighbours + 1, dim=1).values


def _covered(distances: Tensor, radii: Tensor) -> float:
    """Share of the columns of distances (n, m) that lie within the ball (n) of some row."""
    return (distances <= radii[:, None]).any(dim=0).double().mean().item()
