"""Runs a whole distillation: plan, latents, training on N workers, evaluation."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from ladd_ray.config import Config
from ladd_ray.training import run_folder
from ladd_ray.training.cluster import cluster
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
    """
    plan = prepare(config)
    folder = run_folder.claim(plan.config, teacher=plan.teacher)
    logger.info("%s", plan.describe())
    if folder.metrics.exists():
        logger.info("this run is finished: %s", folder.metrics)
        return folder
    with cluster(plan.config) if plan.config.run.num_workers else nullcontext():
        latents = ensure_latents(plan)
        if not folder.export.is_dir():
            settings = worker_settings(plan.config, teacher=plan.teacher, latents=latents)
            if plan.config.run.num_workers:
                _train_on_cluster(plan, settings)
            else:
                run_worker(settings)
        evaluate(plan, folder)
    return folder


def _train_on_cluster(plan: Plan, settings: dict[str, object]) -> None:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    run = plan.config.run
    on_gpu = run.device == "gpu"
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=run.num_workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": run.threads_per_worker, **({"GPU": 1} if on_gpu else {})},
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=str(plan.config.run_directory),
            failure_config=FailureConfig(max_failures=run.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=run.checkpoints_to_keep),
        ),
    )
    trainer.fit()
