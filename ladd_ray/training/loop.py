"""The distillation loop: what one worker does, whatever the method and the engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ladd_ray.algorithm.health import figures, tally
from ladd_ray.config import Config
from ladd_ray.interfaces import Engine, Tracker
from ladd_ray.tracking import Progress
from ladd_ray.training.checkpoints import CheckpointKeeper
from ladd_ray.training.feeds import Pace, open_feed
from ladd_ray.training.health import Gates
from ladd_ray.training.methods import Method, StepReport, build_method
from ladd_ray.training.milestones.scoring import Milestones

logger = logging.getLogger(__name__)

METRIC_PREFIXES = {"heads": "discriminator"}
"""What the metrics of a network are called, where it is not the network's own name."""


def distill(
    config: Config,
    *,
    engine: Engine,
    latents: Path,
    keeper: CheckpointKeeper,
    tracker: Tracker,
    milestones: Milestones | None = None,
) -> Method:
    """Train from the newest checkpoint to the last step; returns the method with its trained networks.

    Args:
        config: of the run.
        engine: where the networks live.
        latents: the training set.
        keeper: of the checkpoints.
        tracker: hears of all numbers.
        milestones: scores on the way, before the checkpoint of the same step; None for none.

    Raises:
        CollapseError: the run is not worth going on with.
        FloatingPointError: a loss or a gradient is not finite.
    """
    method = build_method(config, engine)
    first_step = keeper.restore(method.trainable)
    _require_agreement(method, engine)
    feed = open_feed(config, latents)
    gates = Gates(config.health)
    progress = Progress(config.run.steps, name=config.run.name, step=first_step) if engine.rank == 0 else None
    pace = Pace(feed, config.run.global_batch_size, step=first_step)
    for step in range(first_step, config.run.steps):
        for micro_step in range(config.run.gradient_accumulation_steps):
            batch = feed.batch(step, micro_step, rank=engine.rank, world_size=engine.world_size, device=engine.device)
            report = method.step(batch, step=step)
        done = step + 1
        if done % config.tracking.log_every == 0 or done == config.run.steps:
            metrics = _metrics(report, engine, pace=pace.read(done))
            tracker.log_metrics(metrics, done)
            if progress:
                progress.update(done, metrics)
            gates.check(metrics, engine, step=done)
        if milestones and milestones.due(done):
            milestones.reach(method.student, tracker, step=done)
            pace.restart(done)
        if done % config.run.checkpoint_every == 0 or done == config.run.steps:
            keeper.save(method.trainable, step=done, tracker=tracker)
    if progress:
        progress.close()
    return method


def _metrics(report: StepReport, engine: Engine, *, pace: Mapping[str, float]) -> dict[str, float]:
    """Means over ranks of the last micro batch, what its updates did, how the judge is doing, and the speed."""
    metrics = engine.mean({**{name: float(value) for name, value in report.metrics.items()}, **pace})
    for name, update in report.updates.items():
        prefix = METRIC_PREFIXES.get(name, name)
        metrics |= {f"{prefix}/gradient_norm": update.gradient_norm, f"{prefix}/lr": update.lr}
    if report.verdict is not None:
        metrics |= figures(engine.mean(tally(report.verdict)))
    return metrics


def _require_agreement(method: Method, engine: Engine) -> None:
    """Ranks that start from different weights train different networks and say nothing.

    Raises:
        RuntimeError: networks differ between ranks.
    """
    sums = engine.gather_objects(tuple(network.checksum() for network in method.trainable.values()))
    if len(set(sums)) > 1:
        raise RuntimeError(f"ranks disagree about their weights before the first step: {sums}")
