"""Models that tests of the training make of the tiny one."""

from __future__ import annotations

from pathlib import Path

import torch

from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.widening import widen


def widened(folder: Path, output: Path) -> Path:
    """The same model with input channels for mask and source, whose weights are not zero: what is given shows."""
    transformer = widen(load_transformer(folder, precision="fp32"))
    generator = torch.Generator().manual_seed(0)
    weights = transformer.state_dict()
    patches = weights["pos_embed.proj.weight"]
    patches[:, 16:] = 0.2 * torch.randn(patches[:, 16:].shape, generator=generator)
    return export_pipeline(folder, weights, output, levels=None, provenance={})
