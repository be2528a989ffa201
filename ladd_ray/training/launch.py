"""Runs a whole distillation: plan, latents, training on N workers, evaluation."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

from ladd_ray.config import Config
from ladd_ray.training import run_folder
from ladd_ray.training.cluster import cluster, train_on_cluster
from ladd_ray.training.collapse import require_no_collapse
from ladd_ray.training.online import teachers_of
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.report import evaluate
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.synthesis import ensure_latents
from ladd_ray.training.worker import run_worker, train_worker, worker_settings

logger = logging.getLogger(__name__)


def run(config: Config) -> RunFolder:
    """Distil, or go on where the same command stopped.

    Returns:
        The run's folder, with export, metrics and pictures.

    Raises:
        ValueError: something in the configuration or on the cluster is wrong; the message says what to do.
        CollapsedRunError: one too: the training was given up; ``collapse.md`` in the run's folder says why.
    """
    plan, folder = _claimed(config)
    if folder.metrics.exists():
        logger.info("this run is finished: %s", folder.metrics)
        return folder
    with _workers(plan):
        _train(plan, folder)
        evaluate(plan, folder)
    return folder


def train(config: Config) -> RunFolder:
    """``run`` up to the export; a later ``run`` would score it."""
    plan, folder = _claimed(config)
    with _workers(plan):
        _train(plan, folder)
    return folder


def _claimed(config: Config) -> tuple[Plan, RunFolder]:
    plan = prepare(config)
    folder = run_folder.claim(plan.config, teacher=plan.teacher)
    logger.info("%s", plan.describe())
    return plan, folder


def _workers(plan: Plan) -> AbstractContextManager[None]:
    config = plan.config
    return cluster(config, beside=config.data.teachers_beside) if config.run.num_workers else nullcontext()


def _train(plan: Plan, folder: RunFolder) -> None:
    """Latents and export, as far as they are not there."""
    if folder.export.is_dir():
        return
    latents = plan.latents if plan.config.data.teachers_beside else ensure_latents(plan)
    settings = worker_settings(plan.config, teacher=plan.teacher, latents=latents)
    if plan.config.run.num_workers:
        with teachers_of(plan.config):
            train_on_cluster(plan.config, train_worker, settings)
    else:
        run_worker(settings)
    require_no_collapse(folder)
