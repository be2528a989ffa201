"""What LADD is meant to reach on the embedded world, and whether it did. [ours]"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ladd_ray.evaluation.comparison import ArmResult, Comparison, Measure, distance, judged, spread, steps_text

FOLLOWED: Mapping[int, float] = MappingProxyType({4: 0.97, 2: 0.95, 1: 0.90})
"""Least share of the teacher's judge score, by number of steps."""
KID_FLOORS, KID_MARGIN = 2, 0.05
"""A KID to the teacher may be so many times its floor, and so much more."""
COLLAPSE = 3
"""A KID of one step may be so many times the one of four."""
VARIETY = 0.85
"""Least share of the teacher's diversity."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Target:
    """One aim, and what came out."""

    aim: str
    met: bool
    numbers: str

    def __str__(self) -> str:
        return f"{'met' if self.met else 'MISSED'}: {self.aim}: {self.numbers}"


def targets(comparison: Comparison) -> list[Target]:
    """All that can be checked with the arms and numbers of steps at hand; means over the seeds decide."""
    ladd = comparison.arms.get("ladd")
    if ladd is None:
        return []
    rivals = [comparison.arms[name] for name in ("add", "lcm") if name in comparison.arms]
    found = [*_followed(ladd, comparison), *_distances(ladd, comparison), _variety(ladd, comparison)]
    found += [target for rival in rivals for target in _lead(ladd, rival)]
    return found + (_costs(ladd, comparison.arms["add"]) if "add" in comparison.arms else [])


def _followed(ladd: ArmResult, comparison: Comparison) -> Iterator[Target]:
    teacher = comparison.teacher
    for steps, share in FOLLOWED.items():
        if steps in ladd.scores:
            found = spread(ladd.scores[steps], judged)
            yield Target(
                f"judge score in {steps_text(steps)} at least {share:.2f} of the guided teacher's",
                found.mean >= share * teacher.judge,
                f"{_ratio(found.mean, teacher.judge)} ({found.text()} of {teacher.judge:.3f}, "
                f"+- {teacher.judge_half_width:.3f} over pictures)",
            )


def _distances(ladd: ArmResult, comparison: Comparison) -> Iterator[Target]:
    if 4 not in ladd.scores:
        return
    floor, four = comparison.kid_floor, spread(ladd.scores[4], distance)
    limit = KID_FLOORS * floor.mean + KID_MARGIN
    yield Target(
        f"KID to the teacher in 4 steps at most {KID_FLOORS} times its split-half KID + {KID_MARGIN}",
        four.mean <= limit,
        f"{four.text(4)} of {limit:.4f}",
    )
    if 1 in ladd.scores:
        one = spread(ladd.scores[1], distance)
        # An unbiased estimate may fall below what halves of one set differ by; that is no distance to multiply.
        limit = COLLAPSE * max(four.mean, floor.std)
        yield Target(
            f"no collapse: KID in 1 step at most {COLLAPSE} times that in 4",
            one.mean <= limit,
            f"{one.text(4)} of {limit:.4f}",
        )


def _variety(ladd: ArmResult, comparison: Comparison) -> Target:
    teacher = comparison.teacher.diversity
    found = {steps: spread(scores, lambda one: one.diversity).mean for steps, scores in ladd.scores.items()}
    return Target(
        f"diversity at least {VARIETY} of the teacher's at every number of steps",
        min(found.values()) >= VARIETY * teacher,
        ", ".join(f"{steps_text(steps)} {_ratio(value, teacher)}" for steps, value in found.items()),
    )


def _lead(ladd: ArmResult, rival: ArmResult) -> Iterator[Target]:
    """At equal wall-clock: a higher judge score, and a smaller distance."""
    measures: tuple[tuple[str, Measure, Literal[1, -1]], ...] = (("judge score", judged, 1), ("KID", distance, -1))
    for name, measure, sign in measures:
        pairs = {
            steps: (spread(ladd.scores[steps], measure), spread(rival.scores[steps], measure)) for steps in ladd.scores
        }
        yield Target(
            f"ahead of {rival.label} by {name} at every number of steps",
            all(sign * (ours.mean - theirs.mean) > 0 for ours, theirs in pairs.values()),
            ", ".join(f"{steps_text(steps)} {one.text()} against {two.text()}" for steps, (one, two) in pairs.items()),
        )


def _costs(ladd: ArmResult, add: ArmResult) -> list[Target]:
    return [
        Target(
            "a step takes less time than ADD's",
            ladd.seconds_per_step < add.seconds_per_step,
            f"{ladd.seconds_per_step:.3f} s against {add.seconds_per_step:.3f} s",
        ),
        Target(
            "a step takes less memory than ADD's",
            ladd.peak_memory < add.peak_memory,
            f"{ladd.peak_memory / MEGABYTE:.0f} MB against {add.peak_memory / MEGABYTE:.0f} MB",
        ),
    ]


def _ratio(value: float, standard: float) -> str:
    return f"{value / standard:.3f}" if standard else "-"
