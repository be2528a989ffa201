"""Do guidance knobs do what they say? Edits at rising strengths, and what each strength did to them.

Text guidance should raise the share of edits that are carried out, image guidance the likeness to the source. A knob
is as good as the rank correlation (Spearman 1904) between its strengths and their effects, and a student's knob works
like its teacher's when the effects of both rank alike. [ours]

Shapes: h, w height and width of a picture in pixels, last axis red, green, blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ladd_ray.evaluation.judge_edits import psnr
from ladd_ray.evaluation.metrics import Pictures

KNOB_DEFINITION = (
    "Spearman correlation of the strengths of a knob with their mean effects on the same edits from the same noise, "
    "the other knob at rest. Effect of text guidance: share of edits carried out; of image guidance: PSNR to the source"
)


@dataclass(frozen=True)
class KnobSweep:
    """One knob turned up step by step."""

    strengths: tuple[float, ...]
    """Rising."""
    effects: tuple[float, ...]
    """The mean over all edits at each."""

    @property
    def correlation(self) -> float:
        """Of strengths and effects: 1 where every turn raises the effect, 0 where none changes it."""
        return rank_correlation(self.strengths, self.effects)

    @property
    def range(self) -> float:
        """How far the effect moves from the weakest to the strongest."""
        return self.effects[-1] - self.effects[0]


@dataclass(frozen=True)
class KnobScore:
    """A student's knob beside its teacher's guidance."""

    student: KnobSweep
    teacher: KnobSweep
    definition: str = KNOB_DEFINITION

    def __post_init__(self) -> None:
        if self.student.strengths != self.teacher.strengths:
            raise ValueError(
                f"{self.student.strengths} and {self.teacher.strengths}: turn both knobs through equal strengths"
            )

    @property
    def agreement(self) -> float:
        """Rank correlation of the student's effects with the teacher's."""
        return rank_correlation(self.student.effects, self.teacher.effects)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = {
            "student_correlation": self.student.correlation,
            "teacher_correlation": self.teacher.correlation,
            "agreement": self.agreement,
            "student_range": self.student.range,
            "teacher_range": self.teacher.range,
        }
        return {**found, **asdict(self)}


def image_effect(outputs: Pictures, sources: Pictures) -> float:
    """Mean PSNR in dB of edited pictures (h, w, 3) to their sources."""
    return mean(psnr(output, source) for output, source in zip(outputs, sources, strict=True))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rho, equal values sharing their mean rank; 0 where one side never changes.

    Raises:
        ValueError: fewer than two pairs, or values without a partner.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"{len(first)} and {len(second)} values: give two or more pairs")
    ranks, other_ranks = _ranks(first), _ranks(second)
    if ranks.std() == 0 or other_ranks.std() == 0:
        return 0.0
    return float(np.corrcoef(ranks, other_ranks)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)
