"""Samplers: the distilled student and the guided teacher, one loop.

Both predict x0 and noise it again to the next level. The student takes FRESH noise (consistency sampler,
as in the paper), the teacher the noise that its own velocity implies, x0 + velocity, which is Euler's step:

    (1 - next) x0 + next (x0 + velocity) = x_sigma + (next - sigma) velocity

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.guidance import Scale, guided_velocity
from ladd_ray.interfaces import Condition, Denoiser

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x_sigma (b, c, h, w), sigma (b,)) -> velocity (b, c, h, w)."""

NoiseSource = Callable[[int], Tensor]
"""Index of a step, from 0 -> noise (b, c, h, w)."""


@torch.no_grad()
def denoise(
    velocity: Velocity, noise: Tensor, *, sigmas: Sequence[float], fresh_noise: NoiseSource | None = None
) -> Tensor:
    """Walks from pure noise (b, c, h, w) down the levels to clean latents (b, c, h, w).

    Args:
        velocity: Flow network with its prompt.
        noise: Where to start (b, c, h, w).
        sigmas: Falling levels, from 1 to the final 0.
        fresh_noise: Noise for step 1, 2, ...; without it each step keeps the noise that the velocity implies.

    Raises:
        ValueError: The levels do not fall from 1 to 0.
    """
    _check_sigmas(sigmas)
    x_sigma = noise
    for step, (sigma, next_sigma) in enumerate(pairwise(sigmas), start=1):
        level = noise.new_full((len(noise),), sigma)
        direction = velocity(x_sigma, level)
        x0 = flow.predict_x0(x_sigma, direction, level)
        if next_sigma == 0:
            break
        next_noise = fresh_noise(step) if fresh_noise else x0 + direction
        x_sigma = flow.add_noise(x0, next_noise, torch.full_like(level, next_sigma))
    return x0


def sample_student(denoiser: Denoiser, prompt: Condition, *, levels: Sequence[float], noise_for: NoiseSource) -> Tensor:
    """Clean latents (b, c, h, w) in ``len(levels)`` steps without guidance.

    Args:
        denoiser: The distilled network.
        prompt: What to draw.
        levels: Trained levels to visit, see ``levels.sampling_levels``; the final 0 is added here.
        noise_for: Independent noise for every step, see ``noise.per_step``; sets shape and device too.
    """

    def velocity(x_sigma: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(x_sigma, sigma, *prompt)

    return denoise(velocity, noise_for(0), sigmas=(*levels, 0.0), fresh_noise=noise_for)


def sample_teacher(
    denoiser: Denoiser,
    prompt: Condition,
    *,
    negative_prompt: Condition,
    noise: Tensor,
    sigmas: Sequence[float],
    guidance_scale: Scale,
    image_guidance_scale: Scale = 1.0,
) -> Tensor:
    """Clean latents (b, c, h, w) by Euler steps under classifier-free guidance.

    Args:
        denoiser: The flow network.
        prompt: What to draw.
        negative_prompt: One row for every sample, or a single one for all.
        noise: Pure noise to start from (b, c, h, w).
        sigmas: Levels with the final 0, see ``flow.teacher_sigmas``.
        guidance_scale: 1 turns guidance off. One for all, or one for each sample (b,).
        image_guidance_scale: of the source of an edit; 1 turns it off. Likewise.
    """

    def velocity(x_sigma: Tensor, sigma: Tensor) -> Tensor:
        return guided_velocity(
            denoiser,
            x_sigma,
            sigma=sigma,
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
        )

    return denoise(velocity, noise, sigmas=sigmas)


def _check_sigmas(sigmas: Sequence[float]) -> None:
    falling = all(first > second for first, second in pairwise(sigmas))
    if len(sigmas) < 2 or not falling or sigmas[0] != 1 or sigmas[-1] != 0:
        raise ValueError(f"sigmas = {tuple(sigmas)} must fall from 1 (pure noise) to 0 (clean)")
