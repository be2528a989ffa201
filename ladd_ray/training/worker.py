"""One worker of the distillation: engine, tracker and checkpoints around the loop, then the export."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ladd_ray.config import Config, JobConfig, RunConfig
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Engine, Tracker
from ladd_ray.tracking import MlflowTracker, NullTracker
from ladd_ray.training.checkpoints import (
    CheckpointKeeper,
    Deliver,
    keep_locally,
    ray_announcement,
    ray_delivery,
)
from ladd_ray.training.collapse import reported_collapse
from ladd_ray.training.health import CollapseError
from ladd_ray.training.loop import distill
from ladd_ray.training.methods import Method
from ladd_ray.training.milestones.scoring import Announce, Milestones
from ladd_ray.training.run_folder import RunFolder, identity_hash
from ladd_ray.training.sampler import worker_device
from ladd_ray.training.student_export import export_student


@dataclass(frozen=True)
class Workplace:
    """What a worker has at hand."""

    engine: Engine
    keeper: CheckpointKeeper
    tracker: Tracker
    folder: RunFolder


@contextmanager
def workplace(
    config: JobConfig, *, teacher: str, noise_levels: tuple[float, ...], deliver: Deliver | None
) -> Iterator[Workplace]:
    """Engine, checkpoints and tracker of one worker of any job; the tracked run ends with the block.

    Args:
        config: of the job.
        teacher: fingerprint of the model that the run starts from.
        noise_levels: see ``CheckpointKeeper``.
        deliver: None for the only worker, in this process.
    """
    folder, run = RunFolder(config.run.path), config.run
    torch.set_num_threads(run.threads_per_worker)
    torch.use_deterministic_algorithms(run.deterministic)
    engine = _engine(run)
    keeper = CheckpointKeeper(
        engine=engine,
        root=folder.checkpoints,
        config_hash=identity_hash(config, teacher=teacher),
        noise_levels=noise_levels,
        deliver=deliver or keep_locally(folder.checkpoints, to_keep=run.checkpoints_to_keep),
    )
    tracker: Tracker = NullTracker()
    if engine.rank == 0:
        tracker = MlflowTracker(config, step=keeper.step, run_id=keeper.mlflow_run_id)
    try:
        yield Workplace(engine, keeper, tracker, folder)
    except BaseException:
        tracker.finish(failed=True)
        raise
    tracker.finish()


def train_worker(settings: Mapping[str, Any]) -> None:
    """What Ray Train runs on every worker; ``settings`` come from ``worker_settings``."""
    run_worker(settings, deliver=ray_delivery(), announce=ray_announcement())


def worker_settings(config: Config, *, teacher: str, latents: Path, reference: Path | None = None) -> dict[str, Any]:
    """A plain dictionary, so that Ray can show and store it.

    Args:
        config: of the run.
        teacher: its fingerprint.
        latents: the training set.
        reference: what milestones compare with; None where there are none.
    """
    return {
        "config": config.model_dump(mode="json"),
        "teacher": teacher,
        "latents": str(latents),
        "reference": None if reference is None else str(reference),
    }


def run_worker(
    settings: Mapping[str, Any], *, deliver: Deliver | None = None, announce: Announce | None = None
) -> None:
    """Train this worker's share; without ``deliver`` as the only worker, in this process.

    A run that collapses leaves a report in place of an export; see ``collapse.require_no_collapse``.

    Args:
        settings: from ``worker_settings``.
        deliver: takes the checkpoints.
        announce: hears of the milestones.
    """
    config = Config.model_validate(settings["config"])
    teacher, reference = settings["teacher"], settings["reference"]
    with (
        # Ray would start workers that raise again, and they would collapse again: the driver reads the report.
        suppress(CollapseError),
        workplace(config, teacher=teacher, noise_levels=config.noise.levels, deliver=deliver) as place,
        reported_collapse(place.folder, place.tracker, rank=place.engine.rank),
    ):
        milestones = None
        if reference is not None:
            milestones = Milestones(
                config, place.engine, reference=Path(reference), folder=place.folder, announce=announce
            )
        method = distill(
            config,
            engine=place.engine,
            latents=Path(settings["latents"]),
            keeper=place.keeper,
            tracker=place.tracker,
            milestones=milestones,
        )
        _export(config, method, place.folder, engine=place.engine, teacher=teacher)


def _engine(run: RunConfig) -> Engine:
    accumulation = run.gradient_accumulation_steps
    if run.engine == "local":
        device = worker_device(run.device)
        return LocalEngine(device, total_steps=run.steps, gradient_accumulation_steps=accumulation)
    from ladd_ray.engine.zero import ZeroEngine

    return ZeroEngine(
        total_steps=run.steps, micro_batch_size=run.micro_batch_size, gradient_accumulation_steps=accumulation
    )


def _export(config: Config, method: Method, folder: RunFolder, *, engine: Engine, teacher: str) -> None:
    """The student as a pipeline folder; a half-finished export of an earlier attempt goes."""
    if engine.rank == 0:
        shutil.rmtree(folder.export, ignore_errors=True)
    export_student(config, method.student, folder.export, engine=engine, teacher=teacher, steps=config.run.steps)
