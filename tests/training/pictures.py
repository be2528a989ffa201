"""Latents for tests that need no teacher: smooth pictures with random embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from ray.data.extensions import ArrowTensorArray
from torch import Tensor
from torch.nn.functional import interpolate

from ladd_ray.data.latents import INDEX_COLUMN, Provenance, to_row_arrays
from ladd_ray.interfaces import Condition


def write_latents(
    folder: Path,
    provenance: Provenance,
    *,
    latents: Tensor | None = None,
    prompt_size: int = 64,
    pooled_size: int = 64,
) -> None:
    """A finished folder as ``synthesis`` would leave it; without ``latents`` (n, 16, h/8, w/8) smooth ones."""
    generator = torch.Generator().manual_seed(0)
    count, height, width = provenance.num_latents, provenance.height // 8, provenance.width // 8
    coarse = torch.randn(count, 16, 2, 2, generator=generator)
    if latents is None:
        latents = interpolate(coarse, size=(height, width), mode="bilinear")
    embeddings = torch.randn(count, 5, prompt_size, generator=generator)
    pooled = torch.randn(count, pooled_size, generator=generator)
    arrays = to_row_arrays(latents, Condition(embeddings, pooled))
    columns = {name: ArrowTensorArray.from_numpy(values) for name, values in arrays.items()}
    folder.mkdir(parents=True)
    parquet.write_table(pa.table({INDEX_COLUMN: np.arange(count), **columns}), folder / "0.parquet")
    provenance.write(folder)
