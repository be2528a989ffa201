"""The rows of editing and inpainting: what can be reached, the models, and what is worth nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ladd_ray.evaluation.judge_edits import Read, edit_scores, inpaint_scores
from ladd_ray.evaluation.metrics import Features, Pictures
from ladd_ray.training.evaluation.plan import EvaluationPlan
from ladd_ray.training.evaluation.rows import Row, Scorers, reconstructed
from ladd_ray.training.evaluation.trials import Exercise, Trial
from ladd_ray.training.painting import Picture, paint


def score_trial(trial: Trial, plan: EvaluationPlan, *, scorers: Scorers) -> dict[str, Row]:
    """Every row by its name, in the order of table and sheet: given, exact, the models, the untrained network."""
    rows = {
        name: _row(label, pictures, trial=trial, plan=plan, scorers=scorers) for name, label, pictures in _known(trial)
    }
    painted = {
        contender.name: _row(contender.label, pictures, trial=trial, plan=plan, scorers=scorers)
        for contender, pictures in paint(trial.contenders, trial.samples, crew=plan.crew)
    }
    # Workers finish in any order.
    return {**rows, **{contender.name: painted[contender.name] for contender in trial.contenders}}


def _known(trial: Trial) -> Iterator[tuple[str, str, Pictures]]:
    """Name, label and pictures of the rows that no model draws."""
    given, exact = ("source", "target") if trial.task == "edit" else ("hole", "original")
    pictures = [exercise.exact for exercise in trial.exercises]
    decoded = reconstructed(pictures, trial.contenders[-1].model)
    yield "untouched", f"untouched {given}", [exercise.untouched for exercise in trial.exercises]
    yield "exact", f"exact {exact}", pictures
    yield (
        "reconstruction",
        f"{exact}, through the autoencoder",
        [_outside_kept(exercise, picture) for exercise, picture in zip(trial.exercises, decoded, strict=True)],
    )


def _outside_kept(exercise: Exercise, picture: Picture) -> Picture:
    """Of a hole only the inside is drawn, as every model does it."""
    return picture if exercise.hole is None else np.where(exercise.hole[..., None], picture, exercise.source)


def _row(label: str, pictures: Pictures, *, trial: Trial, plan: EvaluationPlan, scorers: Scorers) -> Row:
    assert scorers.judge is not None, "trials are only planned where there is a judge"
    scores = trial_scores(trial, pictures, read=scorers.judge.read, features=scorers.features)
    return Row(label, {trial.task: scores}, pictures[: plan.config.num_sample_prompts])


def trial_scores(trial: Trial, pictures: Pictures, *, read: Read, features: Features) -> dict[str, Any]:
    """How well a contender's pictures, one for each exercise, do what was asked.

    Args:
        trial: Tells what that was.
        pictures: In the order of the exercises.
        read: The judge, `Judge.read`.
        features: For distances between pictures.
    """
    targets = [exercise.target for exercise in trial.exercises]
    kinds = [exercise.kind for exercise in trial.exercises]
    if trial.task == "inpaint":
        holes = [exercise.hole for exercise in trial.exercises if exercise.hole is not None]
        return inpaint_scores(pictures, originals=targets, masks=holes, kinds=kinds, read=read).to_dict()
    return edit_scores(
        pictures,
        [exercise.source for exercise in trial.exercises],
        targets=targets,
        changed=[exercise.changed for exercise in trial.exercises],
        kinds=kinds,
        read=read,
        features=features,
    ).to_dict()
