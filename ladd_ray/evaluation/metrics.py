"""Every score behind one interface: pictures, and what they were asked to show, become named numbers.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; d features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.data.stickers import Scene
from ladd_ray.evaluation.frechet import fid
from ladd_ray.evaluation.judge import prompt_scores
from ladd_ray.evaluation.manifolds import precision_recall
from ladd_ray.evaluation.scores import diversity, kid
from ladd_ray.models.judge import Judge

Pictures = Sequence[NDArray[np.uint8]]
"""Each (h, w, 3); sizes may differ."""
Features = Callable[[NDArray[np.uint8]], Tensor]
"""Pictures (n, h, w, 3) of one size to features (n, d)."""
Answer = TypeVar("Answer")


class Distance(Protocol):
    """How far a set of pictures is from a reference."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        ...


DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Distance]] = MappingProxyType(
    {"kid": kid, "fid": fid, "precision_recall": precision_recall}
)
"""Each from features of the reference (n, d) and of a set (m, d)."""


@dataclass(frozen=True)
class Asked:
    """What each picture of a set should show."""

    prompts: tuple[str, ...]
    scenes: tuple[Scene, ...] | None = None
    """Exact facts; None outside the embedded world."""

    def shuffled(self) -> Asked:
        """Every picture gets its neighbour's prompt: what scores are worth that do not look at prompts."""
        scenes = self.scenes
        return Asked(_rolled(self.prompts), None if scenes is None else _rolled(scenes))


class Scorer(Protocol):
    """One measure."""

    @property
    def name(self) -> str: ...

    def __call__(self, pictures: Pictures, asked: Asked, /) -> dict[str, Any]:
        """Scores of one set by their names; plain values, ready for JSON."""
        ...


@dataclass(frozen=True)
class DistanceScorer:
    """Distances between features of a set and of a reference, in torchmetrics and in our own lines."""

    reference: Tensor
    """Features (n, d)."""
    features: Features
    wanted: Collection[str] = tuple(DISTANCES)
    name: Final = "distance"

    def __call__(self, pictures: Pictures, _asked: Asked, /) -> dict[str, Any]:
        found = features_of(pictures, self.features)
        return {
            name: measure(self.reference, found).to_dict() for name, measure in DISTANCES.items() if name in self.wanted
        }


@dataclass(frozen=True)
class DiversityScorer:
    """How much pictures of one prompt differ; wants the pictures of a prompt in a row, ``num_seeds`` of each."""

    features: Features
    num_seeds: int
    name: Final = "diversity"

    def __call__(self, pictures: Pictures, _asked: Asked, /) -> dict[str, Any]:
        by_prompt = features_of(pictures, self.features).unflatten(0, (-1, self.num_seeds))
        return {"diversity": diversity(by_prompt).to_dict()}


@dataclass(frozen=True)
class JudgeScorer:
    """Whether the facts of a prompt hold in its picture; the embedded world only."""

    judge: Judge
    name: Final = "judge"

    def __call__(self, pictures: Pictures, asked: Asked, /) -> dict[str, Any]:
        assert asked.scenes is not None, "outside the embedded world nobody knows the facts"
        readings = by_size(pictures, self.judge.read)
        return {"judge": prompt_scores(readings, asked.scenes).to_dict()}


def by_size(pictures: Pictures, answer: Callable[[NDArray[np.uint8]], Iterable[Answer]]) -> list[Answer]:
    """Ask about all pictures of one size (n, h, w, 3) at once; answers come in the order of the pictures."""
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        places[picture.shape].append(place)
    answers: dict[int, Answer] = {}
    for group in places.values():
        stacked = np.stack([pictures[place] for place in group])
        answers |= dict(zip(group, answer(stacked), strict=True))
    return [answers[place] for place in range(len(pictures))]


def features_of(pictures: Pictures, features: Features) -> Tensor:
    """Features (n, d) of pictures whose sizes may differ."""
    return torch.stack(by_size(pictures, features))


def _rolled(values: tuple[Answer, ...]) -> tuple[Answer, ...]:
    return values[1:] + values[:1]
