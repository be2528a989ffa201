"""Scores models and writes results.json, table.md and the sheets of pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ladd_ray.evaluate_config import EvaluateConfig
from ladd_ray.evaluation.pictures import PAPER, sample_grid
from ladd_ray.evaluation.size_table import size_table
from ladd_ray.evaluation.table import all_tables
from ladd_ray.training.cluster import cluster
from ladd_ray.training.evaluation.candidates import UNTRAINED
from ladd_ray.training.evaluation.latency import latencies
from ladd_ray.training.evaluation.plan import RESULTS, SAMPLES, SHEETS, TABLE, EvaluationPlan, prepare_evaluation
from ladd_ray.training.evaluation.rows import Row, Scorers, load_scorers, score_rows
from ladd_ray.training.evaluation.trial_rows import score_trial
from ladd_ray.training.evaluation.trials import TrialTask
from ladd_ray.training.painting import Contender, Picture, Sample

logger = logging.getLogger(__name__)

Rows = Mapping[str, Row]
"""By name, in the order of a table."""


def evaluate_models(config: EvaluateConfig) -> Path:
    """Score all models of a configuration; returns the folder of the results.

    Raises:
        ValueError: something in the configuration or on the cluster is wrong; the message says what to do.
    """
    plan = prepare_evaluation(config)
    logger.info("%s", plan.describe())
    # Before hours of drawing, not after.
    plan.output.mkdir(parents=True, exist_ok=True)
    with cluster(config) if config.run.num_workers else nullcontext():
        scorers = load_scorers(plan)
        rows = _with_latency(score_rows(plan, scorers), plan.contenders, plan.samples, plan=plan)
        tried = {
            trial.task: _with_latency(
                score_trial(trial, plan, scorers=scorers), trial.contenders, trial.samples, plan=plan
            )
            for trial in plan.trials
        }
    _write_sheets(plan, rows, tried)
    _write_texts(plan, results(plan, rows, tried, scorers=scorers))
    return plan.output


def results(plan: EvaluationPlan, rows: Rows, tried: Mapping[TrialTask, Rows], *, scorers: Scorers) -> dict[str, Any]:
    """Everything that was measured, as it is written to results.json."""
    return {
        "protocol": plan.protocol,
        "models": {
            candidate.name: {key: value for key, value in asdict(candidate).items() if key not in ("path", "name")}
            for candidate in plan.candidates
        },
        "precision": plan.config.run.precision,
        "kid_floor": scorers.kid_floor,
        **_measured(rows),
        "tasks": {trial.task: {"protocol": trial.protocol, **_measured(tried[trial.task])} for trial in plan.trials},
    }


def _measured(rows: Rows) -> dict[str, Any]:
    return {
        "labels": {name: row.label for name, row in rows.items()},
        "scores": {name: dict(row.scores) for name, row in rows.items()},
    }


def _with_latency(
    rows: Rows, contenders: Sequence[Contender], samples: Sequence[Sample], *, plan: EvaluationPlan
) -> dict[str, Row]:
    """The rows of one task, those of its models with their speed."""
    if "latency" not in plan.config.chosen_scores:
        return dict(rows)
    trained = [contender for contender in contenders if contender.name != UNTRAINED]
    measured = latencies(trained, samples, crew=plan.crew)
    return {
        name: replace(row, scores={**row.scores, "latency": measured[name].to_dict()}) if name in measured else row
        for name, row in rows.items()
    }


def _write_texts(plan: EvaluationPlan, document: Mapping[str, Any]) -> None:
    """The results last: their presence means that the other files are theirs."""
    documents = {str(plan.output): document, **plan.earlier}
    table = "\n\n".join(filter(None, [all_tables(documents), size_table(documents)]))
    _write_text(plan.output / TABLE, table + "\n")
    _write_text(plan.output / RESULTS, json.dumps(document, indent=2) + "\n")
    logger.info("\n%s\n", table)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text)
    partial.replace(path)


def _write_sheets(plan: EvaluationPlan, rows: Rows, tried: Mapping[TrialTask, Rows]) -> None:
    """The first pictures of everything."""
    _write_sheet(plan, rows, captions=plan.asked.prompts, name=SAMPLES)
    for trial in plan.trials:
        captions = [exercise.text for exercise in trial.exercises]
        _write_sheet(plan, tried[trial.task], captions=captions, name=SHEETS[trial.task])


def _write_sheet(plan: EvaluationPlan, rows: Rows, *, captions: Sequence[str], name: str) -> None:
    """Pictures of all sizes in one grid, in the middle of equal cells."""
    height, width = (max(side) for side in zip(*plan.config.sizes, strict=True))
    fitted = {row.label: [_fitted(picture, height, width) for picture in row.shown] for row in rows.values()}
    grid = {label: np.stack(pictures) for label, pictures in fitted.items() if pictures}
    partial = plan.output / f"part-{name}"
    sample_grid(grid, captions[: plan.config.num_sample_prompts], partial)
    partial.replace(plan.output / name)


def _fitted(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(ImageOps.pad(Image.fromarray(picture), (width, height), color=PAPER))
