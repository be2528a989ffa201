"""A tiny continued training in this process, and pictures to train on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ladd_ray.config import override
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.recipes import stickers_tasks

STEPS = 6
TINY: Mapping[str, object] = {
    "optimizer.lr": 1e-3,
    "optimizer.lr_warmup_steps": 0,
    "optimizer.lr_schedule": "constant",
    "optimizer.ema_decay": 0.9,
    "optimizer.autocast": False,
    "data.num_rows": 24,
    "data.heldout_share": 0.25,
    "data.buckets": ((64, 64), (64, 96)),
    "data.encoding_batch_size": 10,
    "validation.every": 4,
    "validation.batch_size": 4,
    "tracking.log_every": 1,
    "run.name": "tiny",
    "run.steps": STEPS,
    "run.num_workers": 0,
    "run.engine": "local",
    "run.global_batch_size": 4,
    "run.checkpoint_every": 2,
}


def tiny_config(model: Path, directory: Path, **changes: object) -> FinetuneConfig:
    """The recipe in small; ``changes`` write a dot as two underscores."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return override(stickers_tasks(), {**TINY, "model.path": str(model), "run.directory": str(directory), **dotted})


def png(height: int, width: int, *, seed: int = 0) -> bytes:
    """A smooth picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(buffer, format="PNG")
    return buffer.getvalue()


def mask_png(height: int, width: int) -> bytes:
    """White on the left half."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[:, : width // 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
