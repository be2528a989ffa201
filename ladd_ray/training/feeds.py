"""Opens the feed of a distillation's worker: rows from a stored set, or from teachers that draw while it trains."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ladd_ray.config import Config
from ladd_ray.data.batches import BatchStream
from ladd_ray.data.feeding import Feed, stored_feed
from ladd_ray.data.latents import require_pictures
from ladd_ray.data.rows import Encode, Wanted
from ladd_ray.data.task_set import TaskSet, open_tasks
from ladd_ray.models.folder import has_three_tasks
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.training.knobs import idle_knobs
from ladd_ray.training.online import online_feed
from ladd_ray.training.sampler import worker_device

ROWS_LOOKED_AT = 64
"""Of each picture size, before training begins."""


def open_feed(config: Config, latents: Path) -> Feed:
    """Where this worker's batches come from.

    Args:
        config: of the run.
        latents: the stored set; not looked at where rows are drawn while training.

    Raises:
        ValueError: the set is not finished, was changed, or holds no pictures.
    """
    wanted = Wanted(
        three_tasks=has_three_tasks(config.teacher.path),
        knobs=idle_knobs(config),
        encode=_encoder(config),
    )
    run = config.run
    if config.data.feed == "online":
        return online_feed(config, wanted=wanted)
    stored = open_tasks(latents, memory_gb=config.data.memory_gb, wanted=wanted)
    _require_pictures(stored, latents)
    stream = BatchStream.over(
        stored, global_batch_size=run.global_batch_size, micro_batch_size=run.micro_batch_size, seed=run.seed
    )
    return stored_feed(stream, micro_steps=run.gradient_accumulation_steps, num_steps=run.steps)


class Pace:
    """How fast training is, and how long it waits for data, between two readings."""

    def __init__(self, feed: Feed, global_batch_size: int, *, step: int) -> None:
        self._feed, self._size = feed, global_batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Leave out what happened since the last reading."""
        self._step, self._time, self._stalled = step, time.monotonic(), self._feed.stall_seconds

    def read(self, step: int) -> dict[str, float]:
        """Images per second, and seconds per step that this rank waited for batches, since the last reading."""
        now, stalled, steps = time.monotonic(), self._feed.stall_seconds, step - self._step
        figures = {
            "throughput/images_per_second": steps * self._size / (now - self._time),
            "data/stall_seconds": (stalled - self._stalled) / steps,
        }
        self.restart(step)
        return figures


def _encoder(config: Config) -> Encode | None:
    """The text towers, where the set comes without embeddings."""
    if config.data.store_prompt_embeds or config.data.feed == "online":
        return None
    device, path = worker_device(config.run.device), config.teacher.path
    return PromptEncoder.from_pretrained(path, precision=config.teacher.precision, device=device).encode


def _require_pictures(stored: TaskSet, folder: Path) -> None:
    for bucket in stored.buckets:
        rows = torch.arange(min(ROWS_LOOKED_AT, len(bucket)))
        sample = bucket.batch(rows, sample_ids=tuple(rows.tolist()), device="cpu")
        require_pictures(sample.latents, source=str(folder))
