"""The distillation loss of ADD (Sauer et al. 2023, arXiv 2311.17042, section 3.3), which LADD takes up on real data.

    x_sigma = (1 - sigma) x0_pred + sigma noise
    target  = x_sigma - sigma teacher(x_sigma, sigma)       a constant: no gradient passes through the teacher
    loss    = c(sigma) |x0_pred - target|^2                 c = 1 - sigma, "exponential"

Means run over channels and pixels of the latents. Whether the teacher is guided is not stated: it may be. [ours]

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from einops import reduce
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.guidance import guided_velocity
from ladd_ray.config import DistillationConfig
from ladd_ray.interfaces import Condition, Denoiser, LatentBatch

Weighting = Literal["exponential", "uniform"]


def _exponential(sigma: Tensor) -> Tensor:
    return 1 - sigma


WEIGHTINGS: Mapping[Weighting, Callable[[Tensor], Tensor]] = {"exponential": _exponential, "uniform": torch.ones_like}
"""c(sigma), (b,) -> (b,). The first is ADD's: the share of the signal in x_sigma."""


def distillation_loss(
    teacher: Denoiser,
    x0_pred: Tensor,
    *,
    batch: LatentBatch,
    sigma: Tensor,
    noise: Tensor,
    weighting: Weighting = "exponential",
    guidance_scale: float = 1.0,
    image_guidance_scale: float = 1.0,
    negative_prompt: Condition | None = None,
) -> Tensor:
    """The loss of every sample (b,), with its graph back to ``x0_pred`` alone.

    Args:
        teacher: the frozen flow network.
        x0_pred: the student's latents (b, c, h, w).
        batch: gives the prompts.
        sigma: levels at which the teacher looks (b,).
        noise: what the student's latents are noised with (b, c, h, w).
        weighting: of the levels.
        guidance_scale: of the teacher's answer; 1 is no guidance.
        image_guidance_scale: of the source of an edit; 1 is no guidance.
        negative_prompt: one row, to lead away from; only guidance needs it.
    """
    with torch.no_grad():
        x_sigma = flow.add_noise(x0_pred, noise, sigma)
        if guidance_scale > 1:
            assert negative_prompt is not None, "guidance needs a prompt to lead away from"
            velocity = guided_velocity(
                teacher,
                x_sigma,
                sigma=sigma,
                # The student's input, which the teacher has no use for.
                prompt=batch.prompt._replace(strengths=None),
                negative_prompt=negative_prompt,
                guidance_scale=guidance_scale,
                image_guidance_scale=image_guidance_scale,
            )
        else:
            velocity = teacher(x_sigma, sigma, *batch.prompt)
        target = flow.predict_x0(x_sigma, velocity, sigma)
    error = reduce((x0_pred - target).square(), "b c h w -> b", "mean")
    return WEIGHTINGS[weighting](sigma) * error


def configured_distillation(
    teacher: Denoiser,
    x0_pred: Tensor,
    *,
    batch: LatentBatch,
    sigma: Tensor,
    noise: Tensor,
    config: DistillationConfig,
    negative_prompt: Condition | None = None,
) -> Tensor:
    """The loss of every sample (b,) as a run wants it: with its weight, and 0 for rows that are to have none.

    The teacher runs in any case: whether it does must not depend on the rows of one rank.
    """
    rows = distillation_loss(
        teacher,
        x0_pred,
        batch=batch,
        sigma=sigma,
        noise=noise,
        weighting=config.weighting,
        guidance_scale=config.guidance_scale,
        image_guidance_scale=config.image_guidance_scale,
        negative_prompt=negative_prompt,
    )
    if config.rows == "all":
        return config.weight * rows
    real = torch.zeros_like(rows) if batch.real is None else batch.real.to(rows)
    return config.weight * real * rows
