"""Adversarial Diffusion Distillation (Sauer et al. 2023, arXiv 2311.17042): LADD's predecessor, which judges pixels.

    x0_pred = x_sigma - sigma student(x_sigma, sigma)    x_sigma and its levels as in LADD            [paper]
    fake = features(decode(x0_pred))                     features: a frozen, pretrained image network [paper]
    real = features(decode(x0))                          x0: the stored latent; ADD has the picture    [ours]
    c    = (text, embedding of the real picture)         the picture only where sigma < 1             [paper]
    L_heads = mean max(0, 1 - heads(real, c)) + mean max(0, 1 + heads(fake, c)) + 1e-5 R1             [paper]
    L_student = - mean heads(fake, c) + 2.5 mean c(sigma') |x0_pred - teacher's x0|^2                 [paper]

The last term is ``distillation.distillation_loss``, on latents, at LADD's logit-normal sigma'. [ours] The text is the
pooled prompt embedding. [ours] Nothing tells the heads a noise level: pictures are clean. What a step does beside the
judge, the levels, the student's forward and the two turns of the heads' game, is LADD's code.

The student's gradient passes through decoder and features, which is the price: at full resolution the decoder holds
more activations than the transformer. A step costs one forward of the teacher, one of the student and its backward,
and in pixels two decodings and two readings, one of each with a backward.

Shape legend: b batch, c latent channels, h w latent height and width, p pooled width, d width of a map, i j its height
and width, e embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ladd_ray.algorithm import ladd
from ladd_ray.algorithm.distillation import configured_distillation
from ladd_ray.algorithm.strengths import judged_prompt
from ladd_ray.config import DiscriminatorConfig, DistillationConfig
from ladd_ray.interfaces import Condition, Denoiser, Heads, LatentBatch

Decode = Callable[[Tensor], Tensor]
"""Latents (b, c, h, w) -> pictures (b, 3, 8 h, 8 w) about [-1, 1], differentiable."""


class PixelReading(NamedTuple):
    """What an image network sees."""

    maps: list[Tensor]
    """A map (b, d, i, j) for each tapped depth, of its own width."""
    embedding: Tensor
    """The picture as a whole (b, e)."""


class PixelReader(Protocol):
    """A frozen image network: pictures (b, 3, 8 h, 8 w) in [-1, 1] -> what it sees."""

    def __call__(self, images: Tensor, /) -> PixelReading: ...


def judge(
    features: PixelReader, x0_pred: Tensor, *, decode: Decode, batch: LatentBatch, drawn: ladd.Draw
) -> ladd.Judged:
    """Decodes the student's and the stored latents and reads both pictures; only the fake keeps its graph."""
    fake = features(decode(x0_pred))
    with torch.no_grad():
        real = features(decode(batch.latents))
    condition = head_condition(judged_prompt(batch.prompt), real.embedding, sigma=drawn.sigma)
    return ladd.Judged(
        fake.maps, real.maps, nearby=None, misaligned=None, sigma=drawn.sigma, pooled_prompt_embeds=condition
    )


def head_condition(pooled_prompt_embeds: Tensor, embedding: Tensor, *, sigma: Tensor) -> Tensor:
    """What the heads are told (b, p + e): the prompt, and the real picture where the student has seen some of it.

    A student that starts from pure noise cannot know the picture; elsewhere the heads hold it to what it was shown.

    Args:
        pooled_prompt_embeds: (b, p).
        embedding: of the real picture (b, e).
        sigma: level of the student's input (b,).
    """
    # Each is normalised by itself, or the longer one would hide the other from the heads.
    text = functional.layer_norm(pooled_prompt_embeds, pooled_prompt_embeds.shape[-1:])
    image = functional.layer_norm(embedding, embedding.shape[-1:])
    return torch.cat([text, torch.where(rearrange(sigma < 1, "b -> b 1"), image, 0)], dim=1)


def student_loss(
    heads: Heads,
    judged: ladd.Judged,
    x0_pred: Tensor,
    *,
    teacher: Denoiser | None,
    batch: LatentBatch,
    drawn: ladd.Draw,
    config: DiscriminatorConfig,
    distillation: DistillationConfig,
    negative_prompt: Condition | None = None,
) -> ladd.Terms:
    """The student's turn: look real to the heads, and stay what the teacher makes of it.

    Args:
        heads: must not require gradients here.
        judged: of this ``x0_pred``.
        x0_pred: the student's latents (b, c, h, w) with their graph.
        teacher: the frozen flow network; None leaves the distillation loss out.
        batch: the prompts.
        drawn: gives level and noise at which the teacher looks.
        config: the adversarial loss.
        distillation: the other loss, with its weight.
        negative_prompt: one row; only a guided teacher needs it.
    """
    distance = None
    if teacher is not None:
        distance = configured_distillation(
            teacher,
            x0_pred,
            batch=batch,
            sigma=ladd.distillation_sigma(drawn, distillation),
            noise=drawn.fake_noise,
            config=distillation,
            negative_prompt=negative_prompt,
        )
    return ladd.student_loss(heads, judged, config=config, distillation=distance)
