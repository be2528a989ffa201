"""Rectified flow in the convention of Stable Diffusion 3: sigma runs from 0 (clean) to 1 (noise).

    x_sigma  = (1 - sigma) x0 + sigma noise      (1)
    velocity = noise - x0                        (2)
    x0       = x_sigma - sigma velocity          (3)

Equations (1) to (3) and the shift are those of Esser et al. 2024 (arXiv 2403.03206, sections 2, 3 and 5.3).

Shape legend: b batch, c latent channels, h w latent height and width.
"""

import torch
from einops import rearrange
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 1000


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Equation (1): clean latents (b, c, h, w) at the levels sigma (b,)."""
    level = _per_latent(sigma)
    return (1 - level) * x0 + level * noise


def velocity(x0: Tensor, noise: Tensor) -> Tensor:
    """Equation (2): what a flow network predicts (b, c, h, w)."""
    return noise - x0


def predict_x0(x_sigma: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Equation (3): the clean latents (b, c, h, w) that a velocity at the levels sigma (b,) points to."""
    return x_sigma - _per_latent(sigma) * velocity


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Moves levels towards noise for shift > 1, as larger images need (SD3, equation 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def logit_normal(gaussian: Tensor, *, mean: float, std: float) -> Tensor:
    """Levels sigmoid(mean + std u) in (0, 1) from standard normal u, of any shape (SD3, equation 19)."""
    return torch.sigmoid(mean + std * gaussian)


def teacher_sigmas(num_steps: int, shift: float) -> tuple[float, ...]:
    """The num_steps + 1 falling levels of the teacher's Euler sampler, from 1 to the final 0.

    Equal to what diffusers' FlowMatchEulerDiscreteScheduler visits. It shifts the smallest level twice,
    once as the end of the range and once with the whole range; so do we, to draw what the stock pipeline
    draws.
    """
    if num_steps < 1:
        raise ValueError(f"the teacher cannot sample in {num_steps} steps: use at least 1")
    smallest = shift_sigma(torch.tensor(1 / NUM_TRAIN_TIMESTEPS), shift).item()
    even = torch.linspace(1, smallest, num_steps, dtype=torch.float64)
    return (*shift_sigma(even, shift).float().tolist(), 0.0)


def _per_latent(sigma: Tensor) -> Tensor:
    return rearrange(sigma, "b -> b 1 1 1")
