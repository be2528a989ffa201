"""Tiny students and their model as folders, with random weights that do something."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Knob, Knobs, StrengthEmbedding
from ladd_ray.models.widening import widen

KNOBS = Knobs(text=Knob(1.5, 5.0, 3.0), image=Knob(1.0, 2.5, 1.5))
LEVELS = (1.0, 0.75, 0.5, 0.25)


def export_tiny(
    source: Path,
    folder: Path,
    *,
    student: bool = True,
    knobs: Knobs | None = None,
    levels: Sequence[float] = LEVELS,
) -> Path:
    """A three-task model: a student of one step a level, with or without knobs, or a model of many."""
    generator = torch.Generator().manual_seed(0)
    transformer = widen(load_transformer(source, precision="fp32"))
    width = int(transformer.config.pooled_projection_dim)
    embedding = None if knobs is None else StrengthEmbedding(width, knobs=knobs)
    state = SD3Denoiser(transformer, strengths=embedding).state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}
    return export_pipeline(source, moved, folder, levels=levels if student else None, provenance={}, knobs=knobs)


def photo(seed: int = 0, *, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    """A smooth picture (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def hole(*, height: int = 64, width: int = 64) -> NDArray[np.bool_]:
    """A rectangle to fill."""
    mask = np.zeros((height, width), dtype=bool)
    mask[8:29, 16:50] = True
    return mask
