"""One worker of the distillation: engine, tracker and checkpoints around the loop, then the export."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ladd_ray.config import Config
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Engine, Tracker
from ladd_ray.models.export import export_pipeline
from ladd_ray.tracking import MlflowTracker, NullTracker
from ladd_ray.training.checkpoints import CheckpointKeeper, Deliver, keep_locally
from ladd_ray.training.loop import distill
from ladd_ray.training.networks import Networks
from ladd_ray.training.run_folder import RunFolder, identity_hash
from ladd_ray.training.sampler import worker_device


def train_worker(settings: Mapping[str, Any]) -> None:
    """What Ray Train runs on every worker; ``settings`` come from ``worker_settings``."""
    from ray import train

    def deliver(directory: Path, step: int) -> None:
        checkpoint = train.Checkpoint.from_directory(directory)
        train.report({"step": step}, checkpoint=checkpoint, checkpoint_upload_mode=train.CheckpointUploadMode.ASYNC)

    run_worker(settings, deliver=deliver)


def worker_settings(config: Config, *, teacher: str, latents: Path) -> dict[str, Any]:
    """A plain dictionary, so that Ray can show and store it."""
    return {"config": config.model_dump(mode="json"), "teacher": teacher, "latents": str(latents)}


def run_worker(settings: Mapping[str, Any], *, deliver: Deliver | None = None) -> None:
    """Train this worker's share; without ``deliver`` as the only worker, in this process."""
    config = Config.model_validate(settings["config"])
    folder = RunFolder(config.run_directory)
    torch.set_num_threads(config.run.threads_per_worker)
    torch.use_deterministic_algorithms(config.run.deterministic)
    engine = _engine(config)
    keeper = CheckpointKeeper(
        config=config,
        engine=engine,
        root=folder.checkpoints,
        config_hash=identity_hash(config, teacher=settings["teacher"]),
        deliver=deliver or keep_locally(folder.checkpoints, to_keep=config.run.checkpoints_to_keep),
    )
    tracker: Tracker = NullTracker()
    if engine.rank == 0:
        tracker = MlflowTracker(config, step=keeper.step, run_id=keeper.mlflow_run_id)
    try:
        networks = distill(config, engine=engine, latents=Path(settings["latents"]), keeper=keeper, tracker=tracker)
    except BaseException:
        tracker.finish(failed=True)
        raise
    _export(config, networks, folder, engine=engine, teacher=settings["teacher"])
    tracker.finish()


def _engine(config: Config) -> Engine:
    accumulation = config.run.gradient_accumulation_steps
    if config.run.engine == "local":
        device = worker_device(config.run.device)
        return LocalEngine(device, total_steps=config.run.steps, gradient_accumulation_steps=accumulation)
    from ladd_ray.engine.zero import ZeroEngine

    return ZeroEngine(
        total_steps=config.run.steps,
        micro_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=accumulation,
    )


def _export(config: Config, networks: Networks, folder: RunFolder, *, engine: Engine, teacher: str) -> None:
    """The moving average as a pipeline folder; every rank takes part in gathering it."""
    weights = networks.student.full_state_dict(ema=config.student.ema_decay > 0)
    if engine.rank == 0:
        shutil.rmtree(folder.export, ignore_errors=True)
        export_pipeline(
            config.teacher.path,
            weights,
            folder.export,
            levels=config.noise.levels,
            provenance={
                "method": "LADD (arXiv 2403.12015)",
                "teacher": teacher,
                "steps": config.run.steps,
                "seed": config.run.seed,
                "ema_decay": config.student.ema_decay,
            },
        )
    engine.barrier()
