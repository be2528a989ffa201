"""Editing and inpainting at the end of a distillation: held-out exercises of the embedded world, scored and shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ladd_ray.config import Config
from ladd_ray.data_sections import EMBEDDED
from ladd_ray.evaluation.metrics import Features, Pictures
from ladd_ray.evaluation.pictures import sample_grid
from ladd_ray.evaluation.protocol import with_hash
from ladd_ray.evaluation.table import TASK_TABLES, results_table
from ladd_ray.models.judge import Judge, assets_folder
from ladd_ray.models.strengths import NEUTRAL
from ladd_ray.training.evaluation.candidates import editing
from ladd_ray.training.evaluation.trial_rows import trial_scores
from ladd_ray.training.evaluation.trials import (
    Exercise,
    Trial,
    TrialTask,
    edit_exercise,
    exercises_fingerprint,
    fill_exercise,
)
from ladd_ray.training.knobs import teacher_strengths
from ladd_ray.training.painting import Contender, Crew, paint

SHEETS: Final = MappingProxyType({"edit": "edits.png", "inpaint": "fills.png"})
"""Names of the pictures in the run's folder."""


@dataclass(frozen=True)
class Examiner:
    """Who draws the exercises, and what looks at the results."""

    crew: Crew
    judge: Judge
    features: Features


def find_trials(config: Config, players: Sequence[Contender]) -> list[Trial]:
    """The tasks that the student was trained on, where the exact results are known: in the embedded world.

    Args:
        config: The run's, with absolute paths.
        players: Who does them, in the order of the rows.
    """
    asked: list[TrialTask] = []
    if config.data.source == EMBEDDED:
        asked += ["edit"] if config.data.tasks.edit > 0 else []
        asked += ["inpaint"] if config.data.tasks.inpaint > 0 else []
    return [_trial(config, task, players) for task in asked]


def score_trial(trial: Trial, *, examiner: Examiner, sheet: Path, columns: int) -> dict[str, Any]:
    """Protocol, labels and scores of a task as they stand in metrics.json; writes the sheet.

    Args:
        trial: The task.
        examiner: Draws and scores.
        sheet: The picture to write, a row for what is given, for the exact result and for every player.
        columns: Its first exercises.
    """
    labels, scores = {}, {}
    shown = _shown(trial.exercises[:columns])
    for contender, pictures in paint(trial.contenders, trial.samples, crew=examiner.crew):
        labels[contender.name] = contender.label
        scores[contender.name] = {trial.task: _scores(trial, pictures, examiner)}
        shown[contender.label] = pictures[:columns]
    order = [contender.name for contender in trial.contenders]
    rows = {label: np.stack(shown[label]) for label in (*_GIVEN, *(labels[name] for name in order))}
    sample_grid(rows, [exercise.text for exercise in trial.exercises[:columns]], sheet)
    untouched = _scores(trial, [exercise.untouched for exercise in trial.exercises], examiner)
    return {
        "protocol": trial.protocol,
        "labels": {"untouched": "untouched", **{name: labels[name] for name in order}},
        "scores": {"untouched": {trial.task: untouched}, **{name: scores[name] for name in order}},
    }


def task_tables(document: Mapping[str, Any]) -> Iterator[str]:
    """Title and table of each task in metrics.json."""
    for task, results in document["tasks"].items():
        title, columns = TASK_TABLES[task]
        yield f"{title}\n\n{results_table({task: results}, columns=columns)}"


_GIVEN: Final = ("given", "exact result")
"""Rows of the sheet that nobody draws."""


def _shown(exercises: Sequence[Exercise]) -> dict[str, Pictures]:
    pictures = ([exercise.untouched for exercise in exercises], [exercise.exact for exercise in exercises])
    return dict(zip(_GIVEN, pictures, strict=True))


def _scores(trial: Trial, pictures: Pictures, examiner: Examiner) -> dict[str, Any]:
    return trial_scores(trial, pictures, read=examiner.judge.read, features=examiner.features)


def _trial(config: Config, task: TrialTask, players: Sequence[Contender]) -> Trial:
    exercises = tuple(_exercises(config, task))
    guidance = teacher_strengths(config).image if task == "edit" else NEUTRAL
    contenders = tuple(editing(player, guidance) for player in players)
    protocol = {
        "task": task,
        "num_images": len(exercises),
        "size": config.data.sizes[0],
        "exercises": exercises_fingerprint(exercises),
        "seed": config.evaluation.seed,
        "judge": hashlib.sha256((assets_folder() / "model.safetensors").read_bytes()).hexdigest()[:16],
    }
    return Trial(task, exercises, contenders, with_hash(protocol))


def _exercises(config: Config, task: TrialTask) -> Iterator[Exercise]:
    """Of a size that the student was trained at, whatever size prompts are drawn at."""
    exercise = edit_exercise if task == "edit" else fill_exercise
    for number in range(config.evaluation.num_exercises):
        yield exercise(config.evaluation.seed, number, size=config.data.sizes[0])
