"""Flow matching for three tasks (Esser et al. 2024, arXiv 2403.03206, section 2): one training step.

    x_sigma = (1 - sigma) x0 + sigma noise          sigma: logit-normal, shifted
    loss    = mean |denoiser(x_sigma, sigma, condition) - (noise - x0)|^2

Some samples lose their text, their source picture or both, so that guidance by text and by picture has something to
lead away from (Brooks et al. 2023, InstructPix2Pix, section 3.2.1). The picture of inpainting is never left out:
the hole is the task. [ours]

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor

from ladd_ray.algorithm import flow, noise
from ladd_ray.algorithm.tasks import INPAINT, task_of, without_source
from ladd_ray.interfaces import Condition, Denoiser, LatentBatch
from ladd_ray.pretrain_config import DropoutConfig, FlowNoiseConfig


@dataclass(frozen=True)
class Draw:
    """All randomness of one step, on the device of the batch."""

    sigma: Tensor
    """Noise level (b,)."""
    noise: Tensor
    """Noise (b, c, h, w)."""
    without_text: Tensor
    """Samples that lose their text (b,), bool."""
    without_source: Tensor
    """Samples that lose their source picture (b,), bool."""


@dataclass(frozen=True)
class Terms:
    """A loss to minimise, and what it is the mean of."""

    loss: Tensor
    rows: Tensor
    """Mean squared error of every sample (b,), detached."""


def draw(batch: LatentBatch, config: FlowNoiseConfig, *, dropout: DropoutConfig, seed: int) -> Draw:
    """Level, noise and dropped conditions of a batch. They follow from seed and sample ids."""
    ids = batch.sample_ids
    gaussian = noise.gaussian((), seed=seed, purpose="flow_level", sample_ids=ids)
    sigma = flow.shift_sigma(flow.logit_normal(gaussian, mean=config.mean, std=config.std), config.shift)
    uniform = noise.uniform(seed=seed, purpose="dropout", sample_ids=ids).to(batch.latents.device)
    text_only = uniform < dropout.text
    both = (uniform >= 1 - dropout.both) & ~text_only
    image_only = (uniform >= 1 - dropout.both - dropout.image) & ~both & ~text_only
    return Draw(
        sigma=sigma.to(batch.latents),
        noise=noise.gaussian(batch.latents.shape[1:], seed=seed, purpose="flow", sample_ids=ids).to(batch.latents),
        without_text=text_only | both,
        without_source=(image_only | both) & (task_of(batch.prompt) != INPAINT),
    )


def flow_matching_loss(denoiser: Denoiser, batch: LatentBatch, *, drawn: Draw, empty_prompt: Condition) -> Terms:
    """The loss of a batch.

    Args:
        denoiser: the network that learns.
        batch: x0 with prompts and task channels.
        drawn: see ``draw``.
        empty_prompt: what stands for a text that is left out; one row.
    """
    x_sigma = flow.add_noise(batch.latents, drawn.noise, drawn.sigma)
    condition = leave_out(batch.prompt, drawn, empty_prompt=empty_prompt)
    predicted = denoiser(x_sigma, drawn.sigma, *condition)
    error = (predicted - flow.velocity(batch.latents, drawn.noise)).square()
    rows = reduce(error, "b c h w -> b", "mean")
    return Terms(rows.mean(), rows.detach())


def leave_out(condition: Condition, drawn: Draw, *, empty_prompt: Condition) -> Condition:
    """The condition without what ``drawn`` leaves out."""
    empty = empty_prompt.expand(len(drawn.without_text))
    text, source = drawn.without_text, drawn.without_source
    embeds = torch.where(rearrange(text, "b -> b 1 1"), empty.prompt_embeds, condition.prompt_embeds)
    pooled = torch.where(rearrange(text, "b -> b 1"), empty.pooled_prompt_embeds, condition.pooled_prompt_embeds)
    if condition.task_channels is None:
        return Condition(embeds, pooled)
    generation = without_source(condition).task_channels
    assert generation is not None
    return Condition(
        embeds, pooled, torch.where(rearrange(source, "b -> b 1 1 1"), generation, condition.task_channels)
    )
