"""A whole comparison: latents, timing, training of every arm and seed, scores, table and pictures."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import compress
from pathlib import Path

from ladd_ray.compare_config import STUDIES, CompareConfig
from ladd_ray.config import Config, override
from ladd_ray.evaluation.comparison import Comparison
from ladd_ray.evaluation.comparison_pictures import comparison_chart, comparison_sheet
from ladd_ray.evaluation.comparison_table import comparison_table
from ladd_ray.training.cluster import cluster
from ladd_ray.training.comparison.calibration import Cost, calibrated
from ladd_ray.training.comparison.plan import ComparisonPlan, Trainee, claim, prepare_comparison, write_json
from ladd_ray.training.comparison.processes import SEPARATE, Lab, TrainingError
from ladd_ray.training.comparison.results import Exhibition, assess
from ladd_ray.training.synthesis import ensure_latents

logger = logging.getLogger(__name__)

RESULTS, TABLE, CHART, SHEET = "results.json", "table.md", "compare.png", "sheet.png"


def compare(config: CompareConfig, *, lab: Lab = SEPARATE) -> Path:
    """Run a comparison, or go on with it; returns its folder.

    Args:
        config: What to compare.
        lab: Where arms are timed and trained.

    Raises:
        ValueError: Something in the configuration or on the machine is wrong; the message says what to do.
    """
    plan = prepare_comparison(config)
    logger.info("%s", plan.describe())
    claim(plan)
    _make_latents(plan)
    costs = calibrated(plan, lab)
    trained = _train_all(plan, costs, lab)
    comparison, exhibition = assess(plan, trained, costs=costs)
    _write(plan, comparison, exhibition)
    return plan.folder


def _make_latents(plan: ComparisonPlan) -> None:
    """All sets that the arms learn from, by the workers; the runs find them."""
    run = plan.config.run
    sets = {arm.latents: arm for arm in plan.arms.values()}
    drawing = {
        # Not the local engine, which is a single worker; no engine trains here.
        "run.engine": "deepspeed" if run.num_workers else "local",
        "run.num_workers": run.num_workers,
        "run.threads_per_worker": run.threads_per_worker,
        "run.cluster_timeout_s": run.cluster_timeout_s,
    }
    missing = [arm for latents, arm in sets.items() if not latents.is_dir()]
    with cluster(plan.config) if run.num_workers and missing else nullcontext():
        for arm in missing:
            ensure_latents(replace(arm, config=override(arm.config, drawing)))


def _train_all(plan: ComparisonPlan, costs: Mapping[str, Cost], lab: Lab) -> list[Trainee]:
    """Those that have an export in the end; one that fails does not stop the others."""

    def train(number: int, trainee: Trainee) -> bool:
        config = plan.run_config(trainee, steps=costs[trainee.arm].steps_in(plan.config.seconds))
        logger.info("[%d/%d] %s: %d steps", number, len(plan.trainees), trainee.name, config.run.steps)
        done = plan.finished(trainee, config) or _train(config, lab)
        if done:
            # An exported run never resumes, and a comparison has many.
            shutil.rmtree(plan.run_folder(trainee).checkpoints, ignore_errors=True)
        return done

    with ThreadPoolExecutor(plan.config.run.runs_at_once) as lanes:
        done = list(lanes.map(train, range(1, len(plan.trainees) + 1), plan.trainees))
    if not any(done):
        raise ValueError("no arm could be trained: the errors stand above")
    return list(compress(plan.trainees, done))


def _train(config: Config, lab: Lab) -> bool:
    try:
        lab.train(config)
    except TrainingError as error:
        logger.error("%s", error)
        return False
    return True


def _write(plan: ComparisonPlan, comparison: Comparison, exhibition: Exhibition) -> None:
    """The results last: their presence means that the other files are theirs."""
    text = comparison_table(comparison)
    (plan.folder / TABLE).write_text(text)
    comparison_chart(comparison, plan.folder / CHART)
    studies = [STUDIES[name] for name in comparison.studies]
    comparison_sheet(studies, exhibition.drawn, beside=exhibition.beside, path=plan.folder / SHEET)
    write_json(plan.folder / RESULTS, asdict(comparison))
    logger.info("\n%s", text)
