"""Latent Consistency Models (Luo et al. 2023, arXiv 2310.04378) for rectified flow: one training step.

    f(x, sigma) = x - sigma student(x, sigma)            f(x, 0) = x holds by itself: no c_skip, no c_out  [ours]
    sigma_n = n / N, n uniform in k .. N                 k: the skipping interval                     [paper]
    x_n     = (1 - sigma_n) x0 + sigma_n noise
    v       = v(empty) + w (v(prompt) - v(empty))        the frozen teacher's, w uniform              [paper]
    x_n-k   = x_n + (sigma_n-k - sigma_n) v              one Euler step of the guided teacher's flow
    target  = f of the student's moving average at (x_n-k, sigma_n-k)                                 [paper]
    L       = mean sqrt((f(x_n, sigma_n) - target)^2 + c^2) - c    pseudo-Huber  [diffusers' train_lcm scripts]

The paper's scale is w - 1 here. It embeds w in the student; ours hears it through ``Condition.strengths`` where it has
guidance knobs, and learns the mean over w otherwise. Only the text is guided: a source picture stays in both terms.
N is a multiple of what makes every sampled level one of sigma_n, so LADD's sampler serves this student too. [ours]

A step costs 6 forwards of the network: teacher 2, target 1, student 3 with its backward.

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ladd_ray.algorithm import flow, noise
from ladd_ray.algorithm.guidance import guided_velocity
from ladd_ray.algorithm.ladd import Terms
from ladd_ray.config import LcmConfig
from ladd_ray.interfaces import Condition, Denoiser, LatentBatch


@dataclass(frozen=True)
class Draw:
    """All randomness of one step, on the device of the batch."""

    sigma: Tensor
    """Level of the student's input (b,)."""
    next_sigma: Tensor
    """Level that the teacher's step leads to (b,)."""
    noise: Tensor
    """Noise of the student's input (b, c, h, w)."""
    guidance: Tensor
    """Scale w of the teacher's guidance (b,)."""


def draw(batch: LatentBatch, config: LcmConfig, *, seed: int) -> Draw:
    """Levels, noise and guidance of a batch. They follow from seed and sample ids."""
    ids, latents = batch.sample_ids, batch.latents
    choices = config.num_levels - config.skip + 1
    uniform = noise.uniform(seed=seed, purpose="consistency_level", sample_ids=ids).double()
    place = config.skip + (uniform * choices).floor()
    lowest, highest = config.guidance
    strength = noise.uniform(seed=seed, purpose="consistency_guidance", sample_ids=ids)
    return Draw(
        sigma=(place / config.num_levels).to(latents),
        next_sigma=((place - config.skip) / config.num_levels).to(latents),
        noise=noise.gaussian(latents.shape[1:], seed=seed, purpose="student", sample_ids=ids).to(latents),
        guidance=(lowest + (highest - lowest) * strength).to(latents),
    )


def student_input(batch: LatentBatch, drawn: Draw) -> Tensor:
    """x_n (b, c, h, w)."""
    return flow.add_noise(batch.latents, drawn.noise, drawn.sigma)


@torch.no_grad()
def teacher_step(
    teacher: Denoiser, x_sigma: Tensor, *, condition: Condition, drawn: Draw, negative_prompt: Condition
) -> Tensor:
    """x_n-k (b, c, h, w): one Euler step of the guided teacher.

    Args:
        teacher: the frozen flow network.
        x_sigma: x_n (b, c, h, w).
        condition: what to draw.
        drawn: levels and guidance.
        negative_prompt: text to lead away from; one row.
    """
    velocity = guided_velocity(
        teacher,
        x_sigma,
        sigma=drawn.sigma,
        # The student's input, which the teacher has no use for.
        prompt=condition._replace(strengths=None),
        negative_prompt=negative_prompt,
        guidance_scale=drawn.guidance,
    )
    return x_sigma + rearrange(drawn.next_sigma - drawn.sigma, "b -> b 1 1 1") * velocity


def consistency(denoiser: Denoiser, x_sigma: Tensor, *, sigma: Tensor, condition: Condition) -> Tensor:
    """The function f: the clean end (b, c, h, w) of the flow line through x_sigma (b, c, h, w) at sigma (b,)."""
    return flow.predict_x0(x_sigma, denoiser(x_sigma, sigma, *condition), sigma)


def student_condition(condition: Condition, drawn: Draw) -> Condition:
    """The condition with the guidance of this step, for a student that has an input for it; image guidance is 1."""
    if condition.strengths is None:
        return condition
    return condition._replace(strengths=torch.stack([drawn.guidance, torch.ones_like(drawn.guidance)], dim=1))


def consistency_loss(predicted: Tensor, target: Tensor, *, config: LcmConfig) -> Terms:
    """Pseudo-Huber distance of f at both ends of the teacher's step (b, c, h, w), the mean over all values."""
    difference = predicted - target.detach()
    loss = ((difference.square() + config.huber_c**2).sqrt() - config.huber_c).mean()
    metrics = {"student/loss": loss.detach(), "student/target_distance": difference.detach().square().mean().sqrt()}
    return Terms(loss, metrics)
