"""Whether latents are pictures at all.

Shape legend: n latents, c h w latent.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOISE_CORRELATION = 0.05
"""Neighbouring values of pure noise correlate less than this, those of pictures far more (ours)."""


def require_pictures(latents: Tensor, *, source: str) -> None:
    """Refuse latents without spatial structure: a judge that takes noise for real teaches nothing.

    Raises:
        ValueError: not finite, all equal, or neighbours as unrelated as in noise.
    """
    sample = latents[:256].float()
    if not torch.isfinite(sample).all():
        raise ValueError(f"{source} holds latents that are not finite: draw them in fp32 or bf16, not fp16")
    correlation = neighbour_correlation(sample)
    if not correlation > NOISE_CORRELATION:
        raise ValueError(
            f"{source} holds noise, not pictures (neighbouring latents correlate {correlation:.3f}): "
            "check that x0 was stored, not the sampler's start or a velocity"
        )


def neighbour_correlation(latents: Tensor) -> float:
    """Correlation between horizontally neighbouring values (n, c, h, w), each channel about its own mean."""
    centred = latents - latents.mean(dim=(0, 2, 3), keepdim=True)
    product = (centred[..., 1:] * centred[..., :-1]).mean()
    return float(product / centred.square().mean().clamp_min(1e-12))
