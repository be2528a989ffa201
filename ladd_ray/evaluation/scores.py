"""KID-EffNetLite0 and diversity: numbers that say how far a set of pictures is from another, and from itself.

Shapes: n pictures of a set, p prompts, s seeds, d features.
"""

import warnings
from dataclasses import asdict, dataclass
from statistics import mean, pstdev
from typing import Any

import torch
from einops import einsum
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.kid import KernelInceptionDistance

from ladd_ray.evaluation.features import EffNetLite0Features

KID_DEFINITION = "unbiased squared MMD of features, kernel (x.y / d + 1)^3; 0 is equal, lower is better"
DIVERSITY_DEFINITION = "mean of 1 - cosine of features over pairs of seeds of one prompt"


@dataclass(frozen=True)
class KidScore:
    """A kernel distance between a reference set and a generated set of pictures."""

    value: float
    """The estimate over both whole sets. Unbiased, so it may fall a little below 0."""
    subset_std: float
    """Standard deviation over random subsets of half the size; the whole estimate varies less."""
    num_reference: int
    num_generated: int
    name: str = f"KID-{EffNetLite0Features.name}"
    definition: str = KID_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class KidFloor:
    """The distance of a set from itself: differences below it mean nothing at this number of pictures."""

    mean: float
    std: float
    """Standard deviation over the random splits."""
    num_pictures: int
    num_splits: int
    name: str = f"KID-{EffNetLite0Features.name} between random halves of the reference"
    definition: str = KID_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DiversityScore:
    """How much pictures of one prompt differ between seeds."""

    value: float
    relative_to_teacher: float | None
    """Divided by the score of the guided teacher: below 1, the student has lost variety."""
    num_prompts: int
    num_seeds: int
    name: str = f"diversity-{EffNetLite0Features.name}"
    definition: str = DIVERSITY_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def kid(reference: Tensor, generated: Tensor, *, num_subsets: int = 50, seed: int = 0) -> KidScore:
    """Kernel distance (Binkowski et al. 2018, arXiv 1801.01401) between features (n, d) and (m, d).

    The sets should be equally large: the larger one is cut, at random, to the size of the smaller.

    Raises:
        ValueError: a set has fewer than four pictures, or the numbers of features differ.
    """
    require_sets(reference, generated)
    size = min(len(reference), len(generated))
    value, _ = _subset_kid(reference, generated, subsets=1, size=size, seed=seed)
    _, subset_std = _subset_kid(reference, generated, subsets=num_subsets, size=size // 2, seed=seed)
    return KidScore(value, subset_std, num_reference=len(reference), num_generated=len(generated))


def split_half_kid(features: Tensor, *, num_splits: int = 20, seed: int = 0) -> KidFloor:
    """KID between random halves of one set (n, d).

    Raises:
        ValueError: the set has fewer than four pictures.
    """
    _require_set(features, "reference")
    half = len(features) // 2
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(num_splits):
        shuffled = features[torch.randperm(len(features), generator=generator)]
        values.append(_subset_kid(shuffled[:half], shuffled[half:], subsets=1, size=half, seed=seed)[0])
    return KidFloor(mean(values), pstdev(values), num_pictures=len(features), num_splits=num_splits)


def diversity(features: Tensor, *, teacher: DiversityScore | None = None) -> DiversityScore:
    """Mean feature distance between seeds; features (p, s, d), one row of seeds for each prompt.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    if features.ndim != 3 or features.shape[1] < 2:
        raise ValueError(f"features {tuple(features.shape)} must be (prompts, seeds, features), with two seeds")
    directions = F.normalize(features.double(), dim=-1)
    cosines = einsum(directions, directions, "p s d, p t d -> p s t")
    first, second = torch.triu_indices(features.shape[1], features.shape[1], offset=1)
    value = (1 - cosines[:, first, second]).mean().item()
    relative = value / teacher.value if teacher is not None and teacher.value > 0 else None
    return DiversityScore(value, relative, num_prompts=features.shape[0], num_seeds=features.shape[1])


def _subset_kid(reference: Tensor, generated: Tensor, *, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over random subsets; the process's random state is put back afterwards."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features in buffer")
        # Rank 0 alone evaluates: a metric that synchronises over ranks would wait for the others for ever.
        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=size, sync_on_compute=False)
    # The kernel is a cube, and the estimate a small difference of large sums: single precision is too coarse.
    metric.update(reference.double(), real=True)
    metric.update(generated.double(), real=False)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        average, deviation = metric.compute()
    return average.item(), deviation.item()


def require_sets(reference: Tensor, generated: Tensor) -> None:
    """Check two sets of features that are to be compared.

    Raises:
        ValueError: a set has fewer than four pictures, or the numbers of features differ.
    """
    _require_set(reference, "reference")
    _require_set(generated, "generated")
    if reference.shape[1] != generated.shape[1]:
        raise ValueError("the sets differ in their number of features: use one feature network for both")


def _require_set(features: Tensor, role: str) -> None:
    if features.ndim != 2 or len(features) < 4:
        raise ValueError(f"{role} features {tuple(features.shape)} must be (pictures, features), four pictures or more")
