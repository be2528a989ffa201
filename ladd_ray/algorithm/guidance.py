"""Classifier-free guidance for flow networks: by text, and by the source picture of an edit.

Text alone (Ho and Salimans 2022):      v = v(negative) + s (v(prompt) - v(negative))
Text and image (Brooks et al. 2023,     v = v(negative, -) + s_image (v(negative, source) - v(negative, -))
InstructPix2Pix, equation 3):             + s_text (v(prompt, source) - v(negative, source))

Scales may differ from row to row, so that one batch holds targets of many strengths.

Shape legend: b batch, c latent channels, h w latent height and width, k terms of a sum.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ladd_ray.algorithm.tasks import without_source
from ladd_ray.interfaces import Condition, Denoiser

Scale = float | Tensor
"""One strength for all rows, or one for each (b,)."""


def guided_velocity(
    denoiser: Denoiser,
    x_sigma: Tensor,
    *,
    sigma: Tensor,
    prompt: Condition,
    negative_prompt: Condition,
    guidance_scale: Scale,
    image_guidance_scale: Scale = 1.0,
) -> Tensor:
    """Velocity (b, c, h, w), from one forward over all terms that the scales ask for.

    Args:
        denoiser: Flow network.
        x_sigma: Noised latents (b, c, h, w).
        sigma: Their levels (b,).
        prompt: What to draw, and from which source.
        negative_prompt: Text to lead away from; one row for every sample, or a single one for all.
        guidance_scale: Of the text. 1 and below is no guidance: the negative prompt is not used.
        image_guidance_scale: Of the source. 1 is no guidance; without a source it does nothing.

    Raises:
        ValueError: image guidance without text guidance.
    """
    scales = _Scales.of(guidance_scale, image_guidance_scale, rows=len(x_sigma))
    terms = _terms(prompt, negative_prompt.expand(len(x_sigma)), scales)
    count = len(terms)
    velocities = denoiser(
        x_sigma.repeat(count, 1, 1, 1), sigma.repeat(count), *Condition.concatenate(*(term for term, _ in terms))
    )
    weights = torch.stack([weight for _, weight in terms]).to(x_sigma)
    return torch.einsum("kbchw,kb->bchw", rearrange(velocities, "(k b) c h w -> k b c h w", k=count), weights)


class _Scales(NamedTuple):
    """Strengths (b,) of the rows, on the CPU: which terms are needed is decided without waiting for the device."""

    text: Tensor
    image: Tensor

    @classmethod
    def of(cls, text: Scale, image: Scale, *, rows: int) -> _Scales:
        both = [torch.as_tensor(scale, dtype=torch.float64, device="cpu").expand(rows) for scale in (text, image)]
        return cls(both[0].clamp(min=1), both[1])


def _terms(prompt: Condition, negative: Condition, scales: _Scales) -> list[tuple[Condition, Tensor]]:
    """The equations above, sorted by velocity, each with its weights (b,); those of a row add up to 1."""
    text, image = scales
    by_image = prompt.task_channels is not None and bool((image != 1).any())
    if by_image and bool(((text == 1) & (image != 1)).any()):
        raise ValueError("image guidance needs text guidance above 1 in the same row: raise it, or set the other to 1")
    if not (text > 1).any():
        return [(prompt, torch.ones_like(text))]
    negative = negative._replace(task_channels=prompt.task_channels)
    if not by_image:
        return [(negative, 1 - text), (prompt, text)]
    return [(without_source(negative), 1 - image), (negative, image - text), (prompt, text)]
