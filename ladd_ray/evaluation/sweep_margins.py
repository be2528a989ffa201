"""What each setting of a grid does by itself: means over everything else in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from pydantic import JsonValue

from ladd_ray.evaluation.sweep_charts import choices
from ladd_ray.evaluation.sweep_study import Configuration, Scored, varying
from ladd_ray.sweep_records import MetricName, SweepRecord


@dataclass(frozen=True)
class Margin(Scored):
    """All points of a grid at which one setting has the same value."""

    name: str
    value: JsonValue
    points: tuple[Configuration, ...]

    def values(self, metric: MetricName, *, step: int) -> dict[int, float]:
        """By seed, the mean over the points; of those seeds alone that all of them were trained to the end with."""
        scores = [point.values(metric, step=step) for point in self.points]
        seeds = set.intersection(*(set(one) for one in scores))
        return {seed: mean(one[seed] for one in scores) for seed in sorted(seeds)}


def margins(sweep: SweepRecord, found: Sequence[Configuration]) -> list[list[Margin]]:
    """For each varying setting of a whole grid, one for each of its values; [] of anything else, and of one setting."""
    names = varying(sweep)
    if not sweep.grid or len(names) < 2 or len(found) != math.prod(len(choices(sweep, name)) for name in names):
        return []
    return [
        [Margin(name, value, tuple(one for one in found if one.point[name] == value)) for value in choices(sweep, name)]
        for name in names
    ]
