"""What a comparison of methods found: scores of every arm by number of steps and training seed, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

from ladd_ray.compare_config import Claim, StudyName
from ladd_ray.evaluation.scores import KidFloor

Standing = Literal["ahead", "level", "behind"]
FEWEST_SEEDS = 2
"""That tell how far apart equal trainings come out."""


@dataclass(frozen=True)
class Scores:
    """Of one set of pictures."""

    judge: float
    """Share of prompts that the judge finds followed: mean of the categories."""
    judge_half_width: float
    """Of the 95 % interval over pictures."""
    categories: Mapping[str, float]
    kid: float
    """To pictures of the same prompts by the guided teacher, from other noise."""
    kid_real: float
    """To real scenes of other prompts."""
    diversity: float

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Scores:
        """From the dictionaries of ``metrics.Scorer``; the distance to real scenes is called ``kid_real``."""
        judge = measured["judge"]
        return cls(
            judge=judge["overall"],
            judge_half_width=judge["overall_half_width"],
            categories={name: share["value"] for name, share in judge["categories"].items()},
            kid=measured["kid"]["value"],
            kid_real=measured["kid_real"]["value"],
            diversity=measured["diversity"]["value"],
        )


BySeed = Mapping[int, Scores]
BySteps = Mapping[int, BySeed]
"""Number of sampling steps, then training seed, to scores. What was not trained here has the seed 0."""
Measure = Callable[[Scores], float]


@dataclass(frozen=True)
class ArmResult:
    """One way to train, over all its seeds."""

    label: str
    seconds_per_step: float
    """Measured beside the other arms, before training."""
    peak_memory: int
    """Bytes of a process that trains this way: on the GPU, or resident where there is none."""
    steps: int
    """Of training."""
    seconds: Mapping[int, float]
    """What training took in the end, by seed."""
    scores: BySteps


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured, as it is written to results.json."""

    protocol: Mapping[str, Any]
    """How pictures were drawn and scored, with a hash."""
    machine: str
    batch_size: int
    """Of a training step."""
    seconds: float
    """Training time that every arm had."""
    studies: tuple[StudyName, ...]
    seeds: tuple[int, ...]
    kid_floor: KidFloor
    """Of the teacher's pictures."""
    teacher_label: str
    teacher: Scores
    """Many guided steps."""
    few_steps: Mapping[str, BySteps]
    """The teacher itself in as few steps as the students, by the name of the sampler."""
    arms: Mapping[str, ArmResult]
    failed: tuple[str, ...] = ()
    """Runs that ended in an error."""


@dataclass(frozen=True)
class Spread:
    """A score over training seeds."""

    mean: float
    deviation: float
    """Standard deviation of the sample; 0 for a single seed."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(mean(values), stdev(values) if len(values) > 1 else 0.0)

    def text(self, digits: int = 3) -> str:
        """For people; a single seed has no spread."""
        return f"{self.mean:.{digits}f}" + (f" +- {self.deviation:.{digits}f}" if self.deviation else "")


def spread(scores: BySeed, measure: Measure) -> Spread:
    """One measure over the seeds."""
    return Spread.of([measure(one) for one in scores.values()])


def judged(scores: Scores) -> float:
    """How well the prompts are followed."""
    return scores.judge


def distance(scores: Scores) -> float:
    """KID to the teacher."""
    return scores.kid


def standing(arm: BySeed, other: BySeed) -> Standing:
    """Of an arm, seen from another, by the judge: level where the means differ by no more than their joint spread."""
    ours, theirs = spread(arm, judged), spread(other, judged)
    difference, margin = ours.mean - theirs.mean, math.hypot(ours.deviation, theirs.deviation)
    if abs(difference) <= margin:
        return "level"
    return "ahead" if difference > 0 else "behind"


def verdict(claim: Claim, comparison: Comparison) -> str:
    """How a claim of the paper stands here, in a sentence with its numbers; one seed decides nothing."""
    arm, other = comparison.arms[claim.arm].scores, comparison.arms[claim.other].scores
    fewest = min(len(by_seed) for scores in (arm, other) for by_seed in scores.values())
    found = {steps: standing(arm[steps], other[steps]) for steps in arm}
    numbers = ", ".join(
        f"{steps_text(steps)} {found[steps]} ({spread(arm[steps], judged).text()} against "
        f"{spread(other[steps], judged).text()})"
        for steps in arm
    )
    word = _word(set(found.values()), claim) if fewest >= FEWEST_SEEDS else "Undecided"
    return f"{word}: {claim.text}. Here: {numbers}."


def steps_text(count: int) -> str:
    """For people."""
    return f"{count} step{'s' if count > 1 else ''}"


def _word(found: set[Standing], claim: Claim) -> str:
    if found == {claim.expected}:
        return "Agrees"
    opposite: set[Standing] = {"behind"} if claim.expected == "ahead" else {"ahead", "behind"}
    return "Undecided" if claim.expected in found or not found & opposite else "Disagrees"
