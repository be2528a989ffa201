"""Encodes the pictures of a source once, for a continued training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ladd_ray.data.items import Item
from ladd_ray.data.row_files import parts_of
from ladd_ray.data.sources import list_shards
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.encoding import Encoder, framed_items, groups_of
from ladd_ray.training.finetuning.preflight import FinetunePlan
from ladd_ray.training.row_making import Job, make_rows
from ladd_ray.training.sampler import worker_device
from ladd_ray.training.shards import make_once


class PictureMaker:
    """Encodes items by the model of a continued training."""

    def __init__(self, config: FinetuneConfig) -> None:
        torch.set_num_threads(config.run.threads_per_worker)
        device = worker_device(config.run.device)
        path, precision = config.model.path, config.optimizer.precision
        self._data = config.data
        self._encoder = Encoder(
            Autoencoder.from_pretrained(path, precision=precision, device=device),
            PromptEncoder.from_pretrained(path, precision=precision, device=device),
        )

    def empty_prompt(self) -> Condition:
        """The embeddings of no text, one row."""
        return self._encoder.prompts.encode([""])

    def rows(self, items: Sequence[Item]) -> list[TaskRow]:
        """Their rows by size; pictures that cannot be read are left out."""
        framed = framed_items(items, self._data.buckets)
        groups = groups_of(framed, key=lambda entry: entry.size, most=self._data.encoding_batch_size)
        return [row for group in groups for row in self._encoder.rows(group)]


def ensure_encoded(plan: FinetunePlan) -> Path:
    """The folder of the plan's rows, encoded now if nobody encoded them before."""
    config = plan.config
    job = Job(
        parts=tuple(parts_of(list_shards(config.data))),
        reader=config.data,
        maker=partial(PictureMaker, config),
        run=config.run,
        label="encode",
        total=None,
    )
    return make_once(plan.encoded, plan.provenance, partial(make_rows, job), setting="data.encoded")
