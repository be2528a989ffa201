"""The loop of a continued training: what one worker does, on any engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ladd_ray.algorithm.flow_matching import Terms, draw, flow_matching_loss
from ladd_ray.algorithm.tasks import TASKS, task_of
from ladd_ray.data.batches import BatchStream
from ladd_ray.data.feeding import stored_feed
from ladd_ray.data.rows import Wanted
from ladd_ray.data.task_set import open_tasks
from ladd_ray.interfaces import Engine, LatentBatch, Tracker, TrainableNetwork, Update
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.positions import learn_positions
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.widening import widen
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.tracking import Progress
from ladd_ray.training.checkpoints import CheckpointKeeper
from ladd_ray.training.feeds import Pace
from ladd_ray.training.finetuning.validation import Validation

NETWORK = "denoiser"
"""Its name in a checkpoint."""


@dataclass
class TaskMeans:
    """Mean losses since the last logged point, of all and by task; sums stay on the device until they are read."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(2, len(TASKS)))
    """Losses and counts of every task."""

    def add(self, terms: Terms, batch: LatentBatch) -> None:
        """One micro batch."""
        tasks = torch.nn.functional.one_hot(task_of(batch.prompt), len(TASKS)).to(terms.rows)
        self.sums = self.sums.to(terms.rows) + torch.stack([terms.rows @ tasks, tasks.sum(dim=0)])

    def read(self, engine: Engine) -> dict[str, float]:
        """Means over all ranks, and a new start; a task that did not come is left out."""
        losses, counts = self.sums.tolist()
        names = [f"{kind}/{task}" for kind in ("loss", "count") for task in TASKS]
        total = engine.mean(dict(zip(names, [*losses, *counts], strict=True)))
        self.sums = torch.zeros_like(self.sums)
        seen = {task: total[f"count/{task}"] for task in TASKS if total[f"count/{task}"]}
        by_task = {f"flow/{task}": total[f"loss/{task}"] / count for task, count in seen.items()}
        return {"flow/loss": sum(total[f"loss/{task}"] for task in seen) / sum(seen.values()), **by_task}


def finetune(
    config: FinetuneConfig, *, engine: Engine, encoded: Path, keeper: CheckpointKeeper, tracker: Tracker
) -> TrainableNetwork:
    """Train from the newest checkpoint to the last step; returns the trained network."""
    network = build_network(config, engine)
    first_step = keeper.restore({NETWORK: network})
    run, three_tasks = config.run, config.model.three_tasks
    stored = open_tasks(encoded, memory_gb=config.data.memory_gb, wanted=Wanted(three_tasks=three_tasks))
    stream = BatchStream.over(
        stored, global_batch_size=run.global_batch_size, micro_batch_size=run.micro_batch_size, seed=run.seed
    )
    validation = Validation.over(config, encoded)
    empty_prompt = stored.empty_prompt.to(engine.device)
    feed = stored_feed(stream, micro_steps=run.gradient_accumulation_steps, num_steps=run.steps)
    progress = Progress(run.steps, name=run.name, step=first_step) if engine.rank == 0 else None
    means, pace = TaskMeans(), Pace(feed, run.global_batch_size, step=first_step)
    for step in range(first_step, run.steps):
        for micro_step in range(run.gradient_accumulation_steps):
            batch = feed.batch(step, micro_step, rank=engine.rank, world_size=engine.world_size, device=engine.device)
            drawn = draw(batch, config.noise, dropout=config.dropout, seed=run.seed)
            terms = flow_matching_loss(network, batch, drawn=drawn, empty_prompt=empty_prompt)
            update = network.update(terms.loss)
            means.add(terms, batch)
        done = step + 1
        if done % config.tracking.log_every == 0 or done == run.steps:
            metrics = _metrics(means.read(engine), update, pace=engine.mean(pace.read(done)))
            tracker.log_metrics(metrics, done)
            if progress:
                progress.update(done, metrics)
        if done % run.checkpoint_every == 0 or done == run.steps:
            keeper.save({NETWORK: network}, step=done, tracker=tracker)
        if done % config.validation.every == 0 and done < run.steps:
            tracker.log_metrics(validation.losses(network, engine), done)
            pace.restart(done)
    if progress:
        progress.close()
    return network


def build_network(config: FinetuneConfig, engine: Engine) -> TrainableNetwork:
    """The model's transformer, widened where it is to learn three tasks and cannot yet: the same on every rank."""
    settings = config.optimizer
    transformer = load_transformer(config.model.path, precision=settings.precision)
    if config.model.three_tasks and transformer.config.in_channels == transformer.out_channels:
        transformer = widen(transformer)
    if config.model.learned_positions:
        transformer = learn_positions(transformer)
    denoiser = SD3Denoiser(
        transformer, activation_checkpointing=settings.activation_checkpointing, autocast=settings.autocast
    )
    return engine.prepare(denoiser, settings)


def _metrics(means: Mapping[str, float], update: Update, *, pace: Mapping[str, float]) -> dict[str, float]:
    return {
        **means,
        **pace,
        "flow/gradient_norm": update.gradient_norm,
        "flow/lr": update.lr,
    }
