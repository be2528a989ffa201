"""FID: the Fréchet distance of features (Heusel et al. 2017, arXiv 1706.08500), exact also where pictures are few.

Shapes: n and m pictures of two sets, d features, r = min(n, d).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.scores import require_sets

FID_DEFINITION = (
    "squared Fréchet distance of Gaussians fitted to features; 0 is equal, lower is better; biased upwards where "
    "pictures are few: compare at one number of pictures only, and trust KID"
)


@dataclass(frozen=True)
class FidScore:
    """A Fréchet distance between a reference set and a generated set of pictures."""

    value: float
    num_reference: int
    num_generated: int
    name: str = f"FID-{EffNetLite0Features.name}"
    definition: str = FID_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def fid(reference: Tensor, generated: Tensor) -> FidScore:
    """|mean - mean'|^2 + tr(C + C' - 2 (C C')^1/2) of features (n, d) and (m, d), in float64.

    Raises:
        ValueError: a set has fewer than four pictures, or the numbers of features differ.
    """
    require_sets(reference, generated)
    first, second = reference.double(), generated.double()
    means = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    root, other_root = _covariance_root(first), _covariance_root(second)
    # With C = A^T A and C' = B^T B, the eigenvalues of C C' are the squared singular values of A B^T: no matrix
    # square root is needed, which is ill-conditioned where there are fewer pictures than features. [ours]
    shared = torch.linalg.svdvals(root @ other_root.T).sum()
    value = means + root.square().sum() + other_root.square().sum() - 2 * shared
    return FidScore(max(value.item(), 0.0), num_reference=len(reference), num_generated=len(generated))


def _covariance_root(features: Tensor) -> Tensor:
    """A matrix (r, d) whose Gram matrix is the covariance of features (n, d)."""
    centred = (features - features.mean(dim=0)) / math.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle
