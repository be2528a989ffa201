"""Encodes the rows of a source once: Ray Data over actors that hold autoencoder and text towers.

Shape legend: b rows of one size, c h w latent, H W picture.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from ladd_ray.data.framing import Framed, frame
from ladd_ray.data.items import Item, Shard
from ladd_ray.data.sources import list_shards
from ladd_ray.data.task_rows import EncodedRow, save_empty_prompt, to_table
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.folder import T5_TOKENS, shape_config
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.finetuning.preflight import FinetunePlan
from ladd_ray.training.sampler import worker_device
from ladd_ray.training.shards import make_once, progress_of, quiet_ray_data

GROUP_BYTES = 4_000_000
"""Rows that are read together when one of them is wanted take about this much."""
CLIP_TOKENS = 77
SMALL_TASK = 0.25
"""CPUs of a task that only reads or writes."""

logger = logging.getLogger(__name__)


class Encoder:
    """Turns items into stored rows; one per worker."""

    def __init__(self, config: FinetuneConfig, folder: Path) -> None:
        torch.set_num_threads(config.run.threads_per_worker)
        device = worker_device(config.run.device)
        path, precision = config.model.path, config.optimizer.precision
        self._buckets = config.data.buckets
        self._autoencoder = Autoencoder.from_pretrained(path, precision=precision, device=device)
        self._encoder = PromptEncoder.from_pretrained(path, precision=precision, device=device)
        save_empty_prompt(folder, self._encoder.encode([""]))

    def __call__(self, table: pa.Table) -> pa.Table:
        """A table of ``Item``s becomes one of ``EncodedRow``s; pictures that cannot be read are left out."""
        framed: dict[tuple[int, ...], list[tuple[Item, Framed]]] = {}
        for item in (Item(**row) for row in table.to_pylist()):
            try:
                pictures = frame(item, self._buckets)
            except OSError as error:
                logger.warning("row %d (%.60s) is left out: %s", item.id, item.prompt, error)
                continue
            framed.setdefault(pictures.image.shape, []).append((item, pictures))
        return to_table([row for group in framed.values() for row in self._encode(group)])

    @torch.no_grad()
    def _encode(self, group: Sequence[tuple[Item, Framed]]) -> Iterator[EncodedRow]:
        items, framed = zip(*group, strict=True)
        latents = self._autoencoder.encode(_pixels([pictures.image for pictures in framed]))
        given = [pictures for pictures in framed if pictures.gives_source]
        sources = iter(self._autoencoder.encode(_given(given)) if given else ())
        prompt = self._encoder.encode([item.prompt for item in items])
        for index, (item, pictures) in enumerate(zip(items, framed, strict=True)):
            yield EncodedRow(
                id=item.id,
                heldout=item.heldout,
                task=item.task,
                latents=latents[index],
                prompt_embeds=prompt.prompt_embeds[index],
                pooled_prompt_embeds=prompt.pooled_prompt_embeds[index],
                source=next(sources) if pictures.gives_source else None,
                mask=self._on_latents(pictures.hole),
            )

    def _on_latents(self, hole: NDArray[np.bool_] | None) -> Tensor | None:
        """(h, w) by the nearest pixel, as diffusers' inpainting pipeline does."""
        step = self._autoencoder.downsampling
        return None if hole is None else torch.from_numpy(hole[::step, ::step].copy())


def ensure_encoded(plan: FinetunePlan) -> Path:
    """The folder of the plan's rows, encoded now if nobody encoded them before."""
    return make_once(plan.encoded, plan.provenance, partial(_encode_all, plan.config))


def _encode_all(config: FinetuneConfig, folder: Path) -> None:
    shards = list_shards(config.data)
    encode = _encode_on_cluster if config.run.num_workers else _encode_here
    encode(config, shards, folder)


def _encode_on_cluster(config: FinetuneConfig, shards: Sequence[Shard], folder: Path) -> None:
    import ray.data

    run = config.run
    quiet_ray_data()
    items = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards)).flat_map(
        partial(_read, config=config), num_cpus=SMALL_TASK
    )
    rows = items.map_batches(
        Encoder,
        batch_size=config.data.encoding_batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=run.num_workers),
        fn_constructor_args=(config, folder),
        # Half of what an actor uses: actors that held every CPU would leave none to the tasks around them.
        num_cpus=run.threads_per_worker / 2,
        num_gpus=1 if run.device == "gpu" else 0,
    )
    with progress_of(folder, total=None, label="encode"):
        rows.write_parquet(
            str(folder),
            row_group_size=_rows_per_group(config),
            ray_remote_args={"num_cpus": SMALL_TASK},
        )


def _read(row: dict[str, Any], *, config: FinetuneConfig) -> Iterator[dict[str, Any]]:
    shard: Shard = row["shard"]
    return (asdict(item) for item in shard.items(config.data))


def _encode_here(config: FinetuneConfig, shards: Sequence[Shard], folder: Path) -> None:
    """The same without a cluster, for debugging."""
    encoder = Encoder(config, folder)
    items = (asdict(item) for shard in shards for item in shard.items(config.data))
    progress = tqdm(desc="encode", unit="image", mininterval=5)
    number = 0
    while batch := list(islice(items, config.data.encoding_batch_size)):
        rows = encoder(pa.Table.from_pylist(batch))
        parquet.write_table(rows, folder / f"{number:08d}.parquet", row_group_size=_rows_per_group(config))
        progress.update(len(batch))
        number += 1
    progress.close()


def _rows_per_group(config: FinetuneConfig) -> int:
    """From an upper bound of a row's size."""
    largest_latent = max(height * width for height, width in config.data.buckets) // 64 * 16
    tokens = (CLIP_TOKENS + T5_TOKENS) * int(shape_config(config.model.path)["joint_attention_dim"])
    return max(1, GROUP_BYTES // (2 * (2 * largest_latent + tokens)))


def _given(framed: Sequence[Framed]) -> Tensor:
    """What the network is given (b, 3, H, W): the source, or the picture whose hole is mid grey."""
    pixels = _pixels([pictures.image if pictures.source is None else pictures.source for pictures in framed])
    for row, pictures in zip(pixels, framed, strict=True):
        if pictures.hole is not None:
            row[:, torch.from_numpy(pictures.hole)] = 0.0
    return pixels


def _pixels(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(b, 3, H, W) in [-1, 1]."""
    return rearrange(torch.from_numpy(np.stack(images)), "b h w c -> b c h w").float() / 127.5 - 1
