"""Classifier-free guidance for flow networks: by text, and by the source picture of an edit.

Text alone (Ho and Salimans 2022):      v = v(negative) + s (v(prompt) - v(negative))
Text and image (Brooks et al. 2023,     v = v(negative, -) + s_image (v(negative, source) - v(negative, -))
InstructPix2Pix, equation 3):             + s_text (v(prompt, source) - v(negative, source))

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ladd_ray.algorithm.tasks import without_source
from ladd_ray.interfaces import Condition, Denoiser


def guided_velocity(
    denoiser: Denoiser,
    x_sigma: Tensor,
    *,
    sigma: Tensor,
    prompt: Condition,
    negative_prompt: Condition,
    guidance_scale: float,
    image_guidance_scale: float = 1.0,
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
    terms = _terms(prompt, negative_prompt.expand(len(x_sigma)), text=guidance_scale, image=image_guidance_scale)
    count = len(terms)
    velocities = denoiser(
        x_sigma.repeat(count, 1, 1, 1), sigma.repeat(count), *Condition.concatenate(*(term for term, _ in terms))
    )
    weights = x_sigma.new_tensor([weight for _, weight in terms])
    return torch.einsum("kbchw,k->bchw", rearrange(velocities, "(k b) c h w -> k b c h w", k=count), weights)


def _terms(prompt: Condition, negative: Condition, *, text: float, image: float) -> list[tuple[Condition, float]]:
    """The equations above, sorted by velocity; the weights add up to 1."""
    has_source = prompt.task_channels is not None
    if text <= 1:
        if has_source and image != 1:
            raise ValueError(f"image guidance {image} needs text guidance above 1, which is {text}")
        return [(prompt, 1.0)]
    negative = negative._replace(task_channels=prompt.task_channels)
    if not has_source or image == 1:
        return [(negative, 1 - text), (prompt, text)]
    return [(without_source(negative), 1 - image), (negative, image - text), (prompt, text)]
