"""Runs a whole distillation: plan, latents, training on N workers, evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ladd_ray.config import Config
from ladd_ray.training import run_folder
from ladd_ray.training.cluster import cluster, train_on_cluster
from ladd_ray.training.collapse import require_no_collapse
from ladd_ray.training.milestones.reference import ensure_reference
from ladd_ray.training.milestones.scoring import Announce
from ladd_ray.training.online import teachers_of
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.registration import register_model
from ladd_ray.training.report import evaluate
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.synthesis import ensure_latents
from ladd_ray.training.worker import run_worker, train_worker, worker_settings

if TYPE_CHECKING:
    from ray.train import UserCallback

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observers:
    """Who hears of milestones besides the tracker."""

    here: Announce | None = None
    """Where the run has no workers."""
    on_cluster: Callable[[], Sequence[UserCallback]] = tuple
    """Makes what hears of reports of workers."""


NOBODY = Observers()


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
    else:
        with _workers(plan):
            _train(plan, folder)
            evaluate(plan, folder)
    register_model(plan.config, folder.export)
    return folder


def train(config: Config, *, observers: Observers = NOBODY) -> RunFolder:
    """``run`` up to the export; a later ``run`` would score it.

    Raises:
        ValueError: as ``run``.
    """
    plan, folder = _claimed(config)
    with _workers(plan):
        _train(plan, folder, observers=observers)
    return folder


def _claimed(config: Config) -> tuple[Plan, RunFolder]:
    plan = prepare(config)
    folder = run_folder.claim(plan.config, teacher=plan.teacher)
    logger.info("%s", plan.describe())
    return plan, folder


def _workers(plan: Plan) -> AbstractContextManager[None]:
    config = plan.config
    return cluster(config, beside=config.data.teachers_beside) if config.run.num_workers else nullcontext()


def make_ready(plan: Plan) -> dict[str, Any]:
    """Make what runs share, as far as it is not there, and tell what workers are told. Wants the cluster of the run."""
    config = plan.config
    latents = plan.latents if config.data.teachers_beside else ensure_latents(plan)
    reference = ensure_reference(plan) if config.milestones.every else None
    return worker_settings(config, teacher=plan.teacher, latents=latents, reference=reference)


def _train(plan: Plan, folder: RunFolder, *, observers: Observers = NOBODY) -> None:
    """Latents and export, as far as they are not there."""
    if folder.export.is_dir():
        return
    settings = make_ready(plan)
    if plan.config.run.num_workers:
        with teachers_of(plan.config):
            train_on_cluster(plan.config, train_worker, settings, callbacks=observers.on_cluster())
    else:
        run_worker(settings, announce=observers.here)
    require_no_collapse(folder)
