"""What the guidance knobs of a student do to edits, beside its teacher's guidance, at the end of a distillation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ladd_ray.evaluation.knobs import KnobScore, KnobSweep, image_effect
from ladd_ray.evaluation.metrics import Pictures
from ladd_ray.models.strengths import Knob, Knobs, Strengths
from ladd_ray.training.evaluation.trial_rows import trial_scores
from ladd_ray.training.evaluation.trials import Trial
from ladd_ray.training.painting import Contender, paint
from ladd_ray.training.task_report import Examiner

KnobName = Literal["text", "image"]
NAMES: tuple[KnobName, ...] = ("text", "image")


@dataclass(frozen=True)
class Turning:
    """Both models to turn, and how far."""

    student: Contender
    teacher: Contender
    knobs: Knobs
    num_settings: int


def score_knobs(trial: Trial, turning: Turning, *, examiner: Examiner) -> dict[str, Any]:
    """Scores of each knob that has a range, see ``KnobScore``.

    Args:
        trial: The edits to make at every setting; its contenders play no part.
        turning: The models.
        examiner: Draws and scores.
    """
    return {
        name: KnobScore(
            student=_sweep(trial, turning, name=name, model=turning.student, examiner=examiner),
            teacher=_sweep(trial, turning, name=name, model=turning.teacher, examiner=examiner),
        ).to_dict()
        for name in NAMES
        if _knob(turning.knobs, name).high > _knob(turning.knobs, name).low
    }


def knob_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A line on each knob in metrics.json."""
    for name, entry in document.get("knobs", {}).items():
        low, *_, high = entry["student"]["strengths"]
        yield (
            f"{name} guidance from {low:g} to {high:g}: rank correlation with its effect "
            f"{entry['student_correlation']:.2f} (teacher {entry['teacher_correlation']:.2f}), effects of student and "
            f"teacher {entry['agreement']:.2f}; effect {entry['student_range']:+.3f} "
            f"(teacher {entry['teacher_range']:+.3f})"
        )


def shortened(trial: Trial, count: int) -> Trial:
    """The first exercises only."""
    return replace(trial, exercises=trial.exercises[:count])


def _sweep(trial: Trial, turning: Turning, *, name: KnobName, model: Contender, examiner: Examiner) -> KnobSweep:
    settings = _settings(turning, name)
    turned = [_turned(model, strengths) for strengths in settings]
    painted = {one.name: pictures for one, pictures in paint(turned, trial.samples, crew=examiner.crew)}
    effects = tuple(_effect(trial, painted[one.name], name=name, examiner=examiner) for one in turned)
    return KnobSweep(tuple(getattr(strengths, name) for strengths in settings), effects)


def _settings(turning: Turning, name: KnobName) -> Sequence[Strengths]:
    """The knob turned up in even steps, the other at rest."""
    knob, rest = _knob(turning.knobs, name), turning.knobs.pick()
    values = np.linspace(knob.low, knob.high, turning.num_settings)
    return [rest._replace(**{name: float(value)}) for value in values]


def _turned(model: Contender, strengths: Strengths) -> Contender:
    """A student is told the strengths, a teacher is guided by them."""
    name = f"{model.name}_{strengths.text:g}_{strengths.image:g}"
    if model.guidance_scale is None:
        return replace(model, name=name, strengths=strengths)
    return replace(model, name=name, guidance_scale=strengths.text, image_guidance_scale=strengths.image)


def _effect(trial: Trial, pictures: Pictures, *, name: KnobName, examiner: Examiner) -> float:
    if name == "image":
        return image_effect(pictures, [exercise.source for exercise in trial.exercises])
    scores = trial_scores(trial, pictures, read=examiner.judge.read, features=examiner.features)
    return float(scores["success"]["value"])


def _knob(knobs: Knobs, name: KnobName) -> Knob:
    return knobs.text if name == "text" else knobs.image
