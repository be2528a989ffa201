"""Runs a whole continued training: plan, encoded rows, training on N workers."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training import run_folder
from ladd_ray.training.cluster import cluster, train_on_cluster
from ladd_ray.training.finetuning.encoding import ensure_encoded
from ladd_ray.training.finetuning.preflight import FinetunePlan, prepare
from ladd_ray.training.finetuning.worker import run_worker, train_worker, worker_settings
from ladd_ray.training.registration import register_model
from ladd_ray.training.run_folder import RunFolder

logger = logging.getLogger(__name__)


def run(config: FinetuneConfig) -> RunFolder:
    """Continue the training of a model, or go on where the same command stopped.

    Returns:
        The run's folder, with the pipeline, metrics and curves.

    Raises:
        ValueError: something in the configuration, the data or on the cluster is wrong; the message says what to do.
    """
    plan = prepare(config)
    config = plan.config
    folder = run_folder.claim(config, teacher=plan.model)
    logger.info("%s", plan.describe())
    if folder.metrics.exists():
        logger.info("this run is finished: %s", folder.metrics)
    else:
        _train(plan)
    register_model(config, folder.pipeline)
    return folder


def _train(plan: FinetunePlan) -> None:
    config = plan.config
    with cluster(config) if config.run.num_workers else nullcontext():
        settings = worker_settings(config, model=plan.model, encoded=ensure_encoded(plan))
        if config.run.num_workers:
            train_on_cluster(config, train_worker, settings)
        else:
            run_worker(settings)
