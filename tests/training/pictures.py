"""Latents for tests that need no teacher: smooth pictures with random embeddings."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ladd_ray.data.provenance import begin, finish
from ladd_ray.data.row_files import write_piece
from ladd_ray.data.task_rows import DrawnProvenance, TaskRow, save_empty_prompt, to_table
from ladd_ray.interfaces import Condition


def write_latents(
    folder: Path,
    provenance: DrawnProvenance,
    *,
    latents: Tensor | None = None,
    prompt_tokens: int = 5,
    prompt_size: int = 64,
    pooled_size: int = 64,
) -> None:
    """A finished folder as ``synthesis`` would leave it; without ``latents`` (n, 16, h/8, w/8) smooth ones."""
    generator = torch.Generator().manual_seed(0)
    count = provenance.num_latents
    height, width = (int(side) // 8 for side in provenance.sizes.split("x"))
    coarse = torch.randn(count, 16, 2, 2, generator=generator)
    if latents is None:
        latents = interpolate(coarse, size=(height, width), mode="bilinear")
    embeddings = torch.randn(count, prompt_tokens, prompt_size, generator=generator)
    pooled = torch.randn(count, pooled_size, generator=generator)
    rows = [
        TaskRow(number, False, "generate", "a cat", False, latents[number], embeddings[number], pooled[number])
        for number in range(count)
    ]
    folder.mkdir(parents=True)
    begin(folder, provenance)
    save_empty_prompt(folder, Condition(torch.zeros(1, prompt_tokens, prompt_size), torch.zeros(1, pooled_size)))
    write_piece(folder / "rows-000000-0000-last.parquet", to_table(rows))
    finish(folder, provenance)
