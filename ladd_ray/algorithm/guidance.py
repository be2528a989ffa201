"""Classifier-free guidance (Ho and Salimans 2022) for flow networks.

Shape legend: b batch, c latent channels, h w latent height and width.
"""

import torch
from torch import Tensor

from ladd_ray.interfaces import Denoiser, PromptEmbeds


def guided_velocity(
    denoiser: Denoiser,
    x_sigma: Tensor,
    *,
    sigma: Tensor,
    prompt: PromptEmbeds,
    negative_prompt: PromptEmbeds,
    guidance_scale: float,
) -> Tensor:
    """Velocity v(negative) + guidance_scale (v(prompt) - v(negative)), both in one forward, negative first.

    Args:
        denoiser: Flow network.
        x_sigma: Noised latents (b, c, h, w).
        sigma: Their levels (b,).
        prompt: What to draw.
        negative_prompt: What to lead away from; one row for every sample, or a single one for all.
        guidance_scale: 1 and below is no guidance: a single forward, the negative prompt is not used.
    """
    if guidance_scale <= 1:
        return denoiser(x_sigma, sigma, *prompt)
    both = PromptEmbeds.concatenate(_expand(negative_prompt, len(x_sigma)), prompt)
    velocities = denoiser(torch.cat([x_sigma, x_sigma]), torch.cat([sigma, sigma]), *both)
    unconditional, conditional = velocities.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def _expand(prompt: PromptEmbeds, batch_size: int) -> PromptEmbeds:
    return PromptEmbeds(*(tensor.expand(batch_size, *tensor.shape[1:]) for tensor in prompt))
