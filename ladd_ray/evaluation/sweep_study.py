"""What a sweep says about its points: scores over seeds with their confidence, and who is ahead of whom."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev
from typing import TypeVar, get_args

from pydantic import JsonValue

from ladd_ray.sweep_records import ChoiceRecord, MetricName, ScoreRecord, SweepRecord, TrialRecord, TrialsRecord

METRICS: tuple[MetricName, ...] = get_args(MetricName)
METRIC_LABELS: Mapping[MetricName, str] = {
    "judge": "judge score, higher is better",
    "kid": "KID to the teacher, lower is better",
}
DIGITS: Mapping[MetricName, int] = {"judge": 3, "kid": 4}
STUDENT_QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip
"""0.975 quantiles of Student's t for 1, 2, ... degrees of freedom."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % confidence interval by Student's t."""

    mean: float
    half_width: float | None
    """None for a single seed, which says nothing about its spread."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Of at least one value."""
        count = len(values)
        width = student_quantile(count - 1) * stdev(values) / math.sqrt(count) if count > 1 else None
        return cls(mean(values), width, count)

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    def text(self, digits: int = 3) -> str:
        """For people."""
        spread = "" if self.half_width is None else f" +- {self.half_width:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


class Scored(ABC):
    """Something that has scores by seed."""

    @abstractmethod
    def values(self, metric: MetricName, *, step: int) -> dict[int, float]:
        """The score after ``step`` steps, by seed."""

    def interval(self, metric: MetricName, *, step: int) -> Interval | None:
        """Over those seeds; None where there is none yet."""
        values = self.values(metric, step=step)
        return Interval.of(list(values.values())) if values else None


Candidate = TypeVar("Candidate", bound=Scored)


@dataclass(frozen=True)
class Configuration(Scored):
    """All trials at one point of the space."""

    number: int
    point: Mapping[str, JsonValue]
    trials: tuple[TrialRecord, ...]

    def values(self, metric: MetricName, *, step: int) -> dict[int, float]:
        """The score after ``step`` steps of every seed that was trained to the end.

        A search may suggest a point twice: several trials of a seed count as their mean.
        """
        found: dict[int, list[float]] = {}
        for trial in self.trials:
            value = score_at(trial, metric, step=step)
            if trial.status == "done" and value is not None:
                found.setdefault(trial.seed, []).append(value)
        return {seed: mean(values) for seed, values in found.items()}


def student_quantile(degrees: int) -> float:
    """The 0.975 quantile of Student's t; from 21 degrees of freedom on by its expansion (Abramowitz, Stegun 26.7.5)."""
    if degrees <= len(STUDENT_QUANTILES):
        return STUDENT_QUANTILES[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def configurations(trials: TrialsRecord) -> list[Configuration]:
    """In the order of their numbers."""
    members: dict[int, list[TrialRecord]] = {}
    for trial in sorted(trials.trials, key=lambda trial: (trial.configuration, trial.number)):
        members.setdefault(trial.configuration, []).append(trial)
    return [Configuration(number, group[0].point, tuple(group)) for number, group in members.items()]


def leader(sweep: SweepRecord, found: Sequence[Configuration]) -> Configuration | None:
    """The best point after all steps, see ``best_of``."""
    return best_of(found, metric=sweep.metric, step=sweep.steps)


def best_of(among: Sequence[Candidate], *, metric: MetricName, step: int) -> Candidate | None:
    """The one with the best mean, among those with the most seeds; None where nothing has a score yet."""
    means = {
        place: interval for place, one in enumerate(among) if (interval := one.interval(metric, step=step)) is not None
    }
    if not means:
        return None
    most = max(interval.count for interval in means.values())
    complete = (place for place in means if means[place].count == most)
    return among[min(complete, key=lambda place: rank(means[place].mean, metric))]


def advantage(one: Scored, other: Scored, *, metric: MetricName, step: int) -> Interval | None:
    """How far the first is better, seed by seed, so that what a seed does to both cancels; None without common ones."""
    ours, theirs = one.values(metric, step=step), other.values(metric, step=step)
    common = [rank(theirs[seed], metric) - rank(ours[seed], metric) for seed in ours if seed in theirs]
    return Interval.of(common) if common else None


def score_at(trial: TrialRecord, metric: MetricName, *, step: int) -> float | None:
    """The score after so many steps; None where the trial has none there."""
    return next((score_value(score, metric) for score in trial.scores if score.step == step), None)


def score_value(score: ScoreRecord, metric: MetricName) -> float | None:
    """None where the prompts have no such score."""
    return score.kid if metric == "kid" else score.judge


def rank(value: float, metric: MetricName) -> float:
    """The score as a number that is low where it is good."""
    return value if metric == "kid" else -value


def studied(sweep: SweepRecord, found: Sequence[Configuration]) -> tuple[MetricName, ...]:
    """The scores that at least one point has after all steps."""
    return tuple(name for name in METRICS if any(one.values(name, step=sweep.steps) for one in found))


def varying(sweep: SweepRecord) -> tuple[str, ...]:
    """The dimensions that can take more than one value, by dotted names."""
    return tuple(
        name
        for name, dimension in sweep.space.items()
        if not (isinstance(dimension, ChoiceRecord) and len(dimension.values) < 2)
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Dotted names cut from the left as far as they stay distinct."""
    return {name: next(_candidates(name, [other for other in names if other != name])) for name in names}


def value_text(value: JsonValue) -> str:
    """A value of a setting for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str():
            return value
        case None:
            return "default"
        case list():
            return ", ".join(value_text(one) for one in value)
        case _:
            return json.dumps(value)


def _candidates(name: str, others: Sequence[str]) -> Iterator[str]:
    parts = name.split(".")
    for start in range(len(parts) - 1, 0, -1):
        tail = ".".join(parts[start:])
        if not any(other.endswith(f".{tail}") or other == tail for other in others):
            yield tail
    yield name
