"""The distillation loss of ADD (Sauer et al. 2023, arXiv 2311.17042, section 3.3), which LADD takes up on real data.

    x_sigma = (1 - sigma) x0_pred + sigma noise
    target  = x_sigma - sigma teacher(x_sigma, sigma)       a constant: no gradient passes through the teacher
    loss    = c(sigma) |x0_pred - target|^2                 c = 1 - sigma, "exponential"

Means run over channels and pixels of the latents; sigma is the judge's level, or any. Whether the teacher is guided is
not stated: it may be. Of a student with guidance knobs, it is guided as it was when it drew the row. An edit may have
the training latents for a target instead, with c = 1. [ours]

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from einops import reduce
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.guidance import Scale, guided_velocity
from ladd_ray.algorithm.strengths import leading_strengths
from ladd_ray.algorithm.tasks import EDIT, task_of
from ladd_ray.config import DistillationConfig
from ladd_ray.interfaces import Condition, Denoiser, LatentBatch

Weighting = Literal["exponential", "uniform"]


def _exponential(sigma: Tensor) -> Tensor:
    return 1 - sigma


WEIGHTINGS: Mapping[Weighting, Callable[[Tensor], Tensor]] = {"exponential": _exponential, "uniform": torch.ones_like}
"""c(sigma), (b,) -> (b,). The first is ADD's: the share of the signal in x_sigma."""


class Guidance(NamedTuple):
    """What the teacher's answer is led by, see ``guidance.guided_velocity``."""

    negative_prompt: Condition
    """One row, to lead away from."""
    text: Scale
    """1 is none."""
    image: Scale
    """By the source of an edit; 1 is none."""


def distillation_loss(
    teacher: Denoiser,
    x0_pred: Tensor,
    *,
    batch: LatentBatch,
    sigma: Tensor,
    noise: Tensor,
    weighting: Weighting = "exponential",
    guidance: Guidance | None = None,
) -> Tensor:
    """The loss of every sample (b,), with its graph back to ``x0_pred`` alone.

    Args:
        teacher: the frozen flow network.
        x0_pred: the student's latents (b, c, h, w).
        batch: gives the prompts.
        sigma: levels at which the teacher looks (b,).
        noise: what the student's latents are noised with (b, c, h, w).
        weighting: of the levels.
        guidance: of the teacher's answer; None is none.
    """
    with torch.no_grad():
        x_sigma = flow.add_noise(x0_pred, noise, sigma)
        # The student's input, which the teacher has no use for.
        prompt = batch.prompt._replace(strengths=None)
        if guidance is None:
            velocity = teacher(x_sigma, sigma, *prompt)
        else:
            velocity = guided_velocity(
                teacher,
                x_sigma,
                sigma=sigma,
                prompt=prompt,
                negative_prompt=guidance.negative_prompt,
                guidance_scale=guidance.text,
                image_guidance_scale=guidance.image,
            )
        target = flow.predict_x0(x_sigma, velocity, sigma)
    return WEIGHTINGS[weighting](sigma) * _mean_square(x0_pred - target)


def _mean_square(difference: Tensor) -> Tensor:
    return reduce(difference.square(), "b c h w -> b", "mean")


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
        guidance=None if negative_prompt is None else configured_guidance(batch, config, negative_prompt),
    )
    if config.edit_target == "latents":
        rows = torch.where(task_of(batch.prompt) == EDIT, _mean_square(x0_pred - batch.latents), rows)
    if config.rows == "all":
        return config.weight * rows
    real = torch.zeros_like(rows) if batch.real is None else batch.real.to(rows)
    return config.weight * real * rows


def wants_guidance(config: DistillationConfig, *, knobs: bool) -> bool:
    """Whether the teacher's answer is guided at all."""
    return config.weight > 0 and (config.guidance_scale > 1 or (knobs and config.rows == "all"))


def configured_guidance(batch: LatentBatch, config: DistillationConfig, negative_prompt: Condition) -> Guidance:
    """What leads the teacher: the strengths that a row was drawn at where it comes with any, else the configuration's.

    Only an edit has a source to be led by; of a hole there is nothing to lead away from.
    """
    image = torch.where(task_of(batch.prompt) == EDIT, config.image_guidance_scale, 1.0)
    configured = torch.stack([torch.full_like(image, config.guidance_scale), image], dim=1)
    text, image = leading_strengths(batch, otherwise=configured).unbind(dim=1)
    return Guidance(negative_prompt, text, image)
