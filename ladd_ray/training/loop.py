"""The distillation loop: what one worker does, on any engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ladd_ray.algorithm import ladd
from ladd_ray.config import Config
from ladd_ray.data.batches import BatchStream
from ladd_ray.data.latents import read_latents
from ladd_ray.interfaces import Engine, LatentBatch, Tracker, Update
from ladd_ray.tracking import Progress
from ladd_ray.training.checkpoints import CheckpointKeeper
from ladd_ray.training.networks import Networks, build_networks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step of this rank did."""

    metrics: Mapping[str, torch.Tensor]
    student: Update
    heads: Update


def distill(config: Config, *, engine: Engine, latents: Path, keeper: CheckpointKeeper, tracker: Tracker) -> Networks:
    """Train from the newest checkpoint to the last step; returns the trained networks."""
    networks = build_networks(config, engine)
    first_step = keeper.restore(networks.trainable)
    _require_agreement(networks, engine)
    stream = BatchStream(
        read_latents(latents),
        global_batch_size=config.run.global_batch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.run.seed,
    )
    progress = Progress(config.run.steps, step=first_step) if engine.rank == 0 else None
    logged_at, logged_step = time.monotonic(), first_step
    for step in range(first_step, config.run.steps):
        for micro_step in range(config.run.gradient_accumulation_steps):
            batch = stream.batch(step, micro_step, rank=engine.rank, world_size=engine.world_size, device=engine.device)
            report = train_step(networks, batch, config=config, step=step)
        done = step + 1
        if done % config.tracking.log_every == 0 or done == config.run.steps:
            seconds = time.monotonic() - logged_at
            metrics = _metrics(
                report, engine, images_per_second=(done - logged_step) * config.run.global_batch_size / seconds
            )
            logged_at, logged_step = time.monotonic(), done
            tracker.log_metrics(metrics, done)
            if progress:
                progress.update(done, metrics)
        if done % config.run.checkpoint_every == 0 or done == config.run.steps:
            keeper.save(networks.trainable, step=done, tracker=tracker)
    if progress:
        progress.close()
    return networks


def train_step(networks: Networks, batch: LatentBatch, *, config: Config, step: int) -> StepReport:
    """One micro batch of both turns: first the heads learn, then the student (who trains is decided here)."""
    student, heads = networks.student, networks.heads
    drawn = ladd.draw(batch, config.noise, step=step, seed=config.run.seed)
    x0_pred = ladd.generate(student, batch, drawn=drawn)
    judged = ladd.judge(networks.features, x0_pred, batch=batch, drawn=drawn, config=config.discriminator)
    heads_turn = ladd.discriminator_loss(heads, judged, config=config.discriminator)
    heads_update = heads.update(heads_turn.loss)
    with heads.frozen() as frozen_heads:
        student_turn = ladd.student_loss(frozen_heads, judged, config=config.discriminator)
        student_update = student.update(student_turn.loss)
    return StepReport({**heads_turn.metrics, **student_turn.metrics}, student_update, heads_update)


def _metrics(report: StepReport, engine: Engine, *, images_per_second: float) -> dict[str, float]:
    """Means over ranks of the last micro batch, and the speed since the last point."""
    values = engine.mean({name: float(value) for name, value in report.metrics.items()})
    return {
        **values,
        "student/gradient_norm": report.student.gradient_norm,
        "student/lr": report.student.lr,
        "discriminator/gradient_norm": report.heads.gradient_norm,
        "discriminator/lr": report.heads.lr,
        "throughput/images_per_second": images_per_second,
    }


def _require_agreement(networks: Networks, engine: Engine) -> None:
    """Ranks that start from different weights train different networks and say nothing.

    Raises:
        RuntimeError: student or heads differ between ranks.
    """
    sums = engine.gather_objects((networks.student.checksum(), networks.heads.checksum()))
    if len(set(sums)) > 1:
        raise RuntimeError(f"ranks disagree about their weights before the first step: {sums}")
