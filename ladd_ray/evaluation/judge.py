"""Do pictures show what their prompts say? Facts by the judge of the embedded world, and scores after GenEval.

GenEval (arXiv 2310.11513) lets an object detector verify prompts of several categories, and averages the categories.
Ours asks for more: an object that nobody asked for is an error in every category.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from ladd_ray.data.stickers import CATEGORIES, RELATIONS, Scene, Sticker
from ladd_ray.models.judge import Found, Reading

PROMPT_DEFINITION = (
    "share of pictures on which the judge sees exactly the objects asked for, and in the relation asked for; "
    "overall is the mean of the categories; half widths are of 95 % intervals"
)
NORMAL_95 = 1.96
"""Half width of a 95 % interval, in standard deviations."""
CONE = 0.5
"""Least share of the distance between two objects along the axis of their relation (GenEval's)."""

MIN_OVERLAP = 0.5
"""Of intersection over union, from which on an object is in its place."""


@dataclass(frozen=True)
class Verdict:
    """Which facts of a scene hold in a picture; None where the scene does not ask."""

    objects: bool
    """Each concept exactly as often as asked for, and nothing else."""
    background: bool
    style: bool
    """Of most objects."""
    relation: bool | None
    """From the first object to the second, each seen exactly once."""
    absent: bool | None
    """The concept that must not be there is not."""

    @property
    def prompt(self) -> bool:
        """What GenEval would ask: the objects, and their relation."""
        return self.objects and self.relation is not False

    @property
    def all_right(self) -> bool:
        """Every fact holds."""
        return self.prompt and self.background and self.style and self.absent is not False


@dataclass(frozen=True)
class Share:
    """How often something holds."""

    value: float
    half_width: float
    """Of the 95 % interval (Wilson 1927), which is not quite centred on the value."""
    n: int
    """Number of pictures."""


@dataclass(frozen=True)
class JudgeScore:
    """How well a set of pictures follows its prompts."""

    overall: float
    """Mean of the categories."""
    overall_half_width: float
    categories: Mapping[str, Share]
    """Only those that occur."""
    background: Share
    style: Share
    all_right: Share
    """Pictures with every fact right."""
    by_size: Mapping[str, Share]
    """The same of every picture size, by ``size_name``."""
    definition: str = PROMPT_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def verdict(reading: Reading, scene: Scene) -> Verdict:
    """Compare what the judge reads with what the scene's caption says. Places count only in relations."""
    seen = Counter(found.concept for found in reading.objects)
    return Verdict(
        objects=seen == Counter(item.concept for item in scene.objects),
        background=reading.background == scene.background,
        style=reading.style == (scene.style if scene.objects else None),
        relation=None if scene.relation is None else _related(reading, scene),
        absent=None if scene.absent is None else scene.absent not in seen,
    )


def prompt_scores(readings: Sequence[Reading], scenes: Sequence[Scene]) -> JudgeScore:
    """Score one picture for each scene.

    Raises:
        ValueError: there is no scene, or not one reading for each.
    """
    if not scenes or len(readings) != len(scenes):
        raise ValueError(f"{len(readings)} readings of {len(scenes)} scenes: give one picture for each scene")
    verdicts = [verdict(reading, scene) for reading, scene in zip(readings, scenes, strict=True)]
    all_right = [one.all_right for one in verdicts]
    categories = {
        category: share([one.prompt for one, scene in zip(verdicts, scenes, strict=True) if scene.category == category])
        for category in CATEGORIES
        if any(scene.category == category for scene in scenes)
    }
    return JudgeScore(
        overall=mean(part.value for part in categories.values()),
        overall_half_width=math.hypot(*(part.half_width for part in categories.values())) / len(categories),
        categories=categories,
        background=share([one.background for one in verdicts]),
        style=share([one.style for one in verdicts]),
        all_right=share(all_right),
        by_size=shares_by([size_name(scene) for scene in scenes], all_right),
    )


def placed(reading: Reading, scene: Scene) -> list[bool]:
    """For every object of the scene, whether its concept is seen where it should be: the squares overlap by half."""
    return [
        any(found.concept == item.concept and overlap(found, item) >= MIN_OVERLAP for found in reading.objects)
        for item in scene.objects
    ]


def overlap(found: Found, item: Sticker) -> float:
    """Intersection over union of two squares."""
    width, height = (
        min(found.box[axis + 2], item.box[axis + 2]) - max(found.box[axis], item.box[axis]) for axis in (0, 1)
    )
    common = max(width, 0) * max(height, 0)
    return common / (found.size**2 + item.size**2 - common)


def share(outcomes: Sequence[bool]) -> Share:
    """The share of true outcomes; at least one is needed."""
    n, value, z2 = len(outcomes), mean(outcomes), NORMAL_95**2
    half_width = NORMAL_95 * math.sqrt(n * value * (1 - value) + z2 / 4) / (n + z2)
    return Share(float(value), half_width, n)


def shares_by(names: Sequence[str], outcomes: Sequence[bool]) -> dict[str, Share]:
    """The share of true outcomes of every name, in alphabetical order; one name for each outcome."""
    groups: dict[str, list[bool]] = {}
    for name, outcome in zip(names, outcomes, strict=True):
        groups.setdefault(name, []).append(outcome)
    return {name: share(groups[name]) for name in sorted(groups)}


def size_name(scene: Scene) -> str:
    """Height and width of a scene in pixels, as they stand in results: `64x96`."""
    return f"{scene.height}x{scene.width}"


def _related(reading: Reading, scene: Scene) -> bool:
    first, second = (
        [found for found in reading.objects if found.concept == item.concept] for item in scene.objects[:2]
    )
    assert scene.relation is not None
    return len(first) == len(second) == 1 and related(first[0], second[0], relation=scene.relation)


def related(first: Found, second: Found, *, relation: str) -> bool:
    """Whether the direction from the second object to the first is within 60 degrees of the relation's."""
    right = (first.left + first.size / 2) - (second.left + second.size / 2)
    below = (first.top + first.size / 2) - (second.top + second.size / 2)
    along = right if RELATIONS[relation] == "horizontal" else below
    sign = 1 if relation in ("right of", "below") else -1
    return sign * along > CONE * math.hypot(right, below)
