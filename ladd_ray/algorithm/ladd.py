"""Latent Adversarial Diffusion Distillation (Sauer et al. 2024, arXiv 2403.12015): one training step.

    x_sigma = (1 - sigma) x0 + sigma noise               x0: a latent that the guided teacher drew    [paper]
    x0_pred = x_sigma - sigma student(x_sigma, sigma)    sigma: 1, .75, .5 or .25                     [paper]
    fake = features((1 - sigma') x0_pred + sigma' noise', sigma')    sigma': logit-normal             [paper]
    real = features((1 - sigma') x0 + sigma' noise'', sigma')        noised like the fake              [ours]
    L_heads = mean max(0, 1 - heads(real)) + mean max(0, 1 + heads(fake)) + penalty     as in ADD      [ours]
    L_student = - mean heads(fake)                       on synthetic data nothing else               [paper]
                + distillation loss                      on real data; see ``distillation``           [paper]

``features`` is the frozen teacher up to its last tapped block; means run over samples, heads and tokens.
The student and the features run once per step: the heads' turn takes the fake's features without their
graph, the student's turn with it. That costs 6 forwards of the network, separate passes cost 8: ``judge``
without a graph first, ``generate`` and ``judge_fake`` again in the student's turn. [ours] A step reads

    drawn = draw(batch, config.noise, step=step, seed=seed)
    x0_pred = generate(student, batch, drawn=drawn)
    judged = judge(features, x0_pred, batch=batch, drawn=drawn, config=config.discriminator)
    heads.update(discriminator_loss(heads, judged, config=config.discriminator).loss)
    with heads.frozen() as frozen_heads:
        student.update(student_loss(frozen_heads, judged, config=config.discriminator).loss)

Shape legend: b batch, c latent channels, h w latent height and width, d feature width, p pooled width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ladd_ray.algorithm import flow, levels, noise
from ladd_ray.algorithm.health import Verdict
from ladd_ray.algorithm.losses import ADVERSARIAL_LOSSES, LogitLoss, approximate_r1, exact_r1, flatten_logits
from ladd_ray.algorithm.strengths import judged_prompt
from ladd_ray.config import DiscriminatorConfig, DistillationConfig, NoiseConfig
from ladd_ray.interfaces import Condition, Denoiser, FeatureExtractor, Heads, LatentBatch


@dataclass(frozen=True)
class Draw:
    """All randomness of one step, on the device of the batch."""

    sigma: Tensor
    """Level of the student's input (b,)."""
    noise: Tensor
    """Noise of the student's input (b, c, h, w)."""
    renoise_sigma: Tensor
    """Level at which the judge looks (b,)."""
    uniform_sigma: Tensor
    """Level at which the teacher answers where that is not the judge's (b,)."""
    fake_noise: Tensor
    """Noise over the student's latents (b, c, h, w)."""
    real_noise: Tensor
    """Noise over the teacher's latents (b, c, h, w)."""
    perturbation: Tensor
    """Direction in which the approximate penalty moves the judge's input (b, c, h, w)."""


@dataclass(frozen=True)
class Misaligned:
    """Real latents under the prompt of their neighbour in the micro batch."""

    features: list[Tensor]
    """One map (b, d, h/2, w/2) for each tapped block, without a graph."""
    pooled_prompt_embeds: Tensor
    """The neighbours' prompts (b, p)."""
    differs: Tensor
    """Where that is another prompt (b,), bool; the other rows are aligned and count for nothing."""


@dataclass(frozen=True)
class Judged:
    """What the frozen teacher sees: one map of features (b, d, h/2, w/2) for each tapped block."""

    fake: list[Tensor]
    """Of the student's latents, with the graph back to the student."""
    real: list[Tensor]
    """Of the teacher's latents, without a graph."""
    nearby: list[Tensor] | None
    """Of the noised latents behind ``real``, moved a little; only for the approximate penalty."""
    sigma: Tensor
    """Level at which it looked (b,)."""
    pooled_prompt_embeds: Tensor
    """The prompts (b, p), with their strengths where there are any; see ``strengths.judged_prompt``."""
    misaligned: Misaligned | None = None
    """Only where the heads are to call it fake."""


@dataclass(frozen=True)
class Terms:
    """A loss to minimise, and detached scalars to log, which stay on the device until then."""

    loss: Tensor
    metrics: Mapping[str, Tensor]
    verdict: Verdict | None = None
    """Of the heads' turn: what they said, for the health of the run."""


def draw(batch: LatentBatch, config: NoiseConfig, *, step: int, seed: int) -> Draw:
    """Levels and noise of a step. They follow from seed and sample ids; ``step`` only tells the warm-up."""

    def gaussian(purpose: str, shape: torch.Size) -> Tensor:
        drawn = noise.gaussian(shape, seed=seed, purpose=purpose, sample_ids=batch.sample_ids)
        return drawn.to(batch.latents.device)

    def uniform(purpose: str) -> Tensor:
        return noise.uniform(seed=seed, purpose=purpose, sample_ids=batch.sample_ids)

    latent, scalar = batch.latents.shape[1:], torch.Size()
    return Draw(
        sigma=levels.student_levels(config, uniform("student_level"), step=step).to(batch.latents.device),
        noise=gaussian("student", latent),
        renoise_sigma=levels.renoise_levels(config, gaussian("renoise_level", scalar)),
        uniform_sigma=uniform("distillation_level").to(batch.latents.device),
        fake_noise=gaussian("renoise_fake", latent),
        real_noise=gaussian("renoise_real", latent),
        perturbation=gaussian("perturbation", latent),
    )


def generate(student: Denoiser, batch: LatentBatch, *, drawn: Draw) -> Tensor:
    """One step of the student: x0_pred (b, c, h, w) with its graph. Where sigma is 1, pure noise goes in."""
    x_sigma = flow.add_noise(batch.latents, drawn.noise, drawn.sigma)
    return flow.predict_x0(x_sigma, student(x_sigma, drawn.sigma, *batch.prompt), drawn.sigma)


def judge(
    features: FeatureExtractor,
    x0_pred: Tensor,
    *,
    batch: LatentBatch,
    drawn: Draw,
    config: DiscriminatorConfig,
) -> Judged:
    """Noises the student's and the teacher's latents to one level and reads the frozen teacher's features."""
    sigma = drawn.renoise_sigma
    fake = judge_fake(features, x0_pred, batch=batch, drawn=drawn)
    x_real = flow.add_noise(batch.latents, drawn.real_noise, sigma)
    nearby, misaligned = None, None
    with torch.no_grad():
        real = features(x_real, sigma, *batch.prompt)
        if config.r1 == "approximate":
            x_nearby = x_real + config.r1_perturbation * drawn.perturbation
            nearby = features(x_nearby, sigma, *batch.prompt)
        if config.misaligned_weight:
            misaligned = _judge_misaligned(features, x_real, sigma=sigma, prompt=batch.prompt)
    return Judged(fake, real, nearby, sigma, judged_prompt(batch.prompt), misaligned)


def judge_fake(features: FeatureExtractor, x0_pred: Tensor, *, batch: LatentBatch, drawn: Draw) -> list[Tensor]:
    """Features of the student's noised latents, with the graph back to the student: one map for each tapped block."""
    sigma = drawn.renoise_sigma
    return features(flow.add_noise(x0_pred, drawn.fake_noise, sigma), sigma, *batch.prompt)


def discriminator_loss(heads: Heads, judged: Judged, *, config: DiscriminatorConfig) -> Terms:
    """The heads' turn: tell real from fake at every token. No gradient reaches the student."""
    real_features = [feature.detach().requires_grad_(config.r1 == "exact") for feature in judged.real]
    real_logits = _logits(heads, real_features, judged=judged)
    fake_logits = _logits(heads, [feature.detach() for feature in judged.fake], judged=judged)
    real, fake = flatten_logits(real_logits), flatten_logits(fake_logits)

    adversarial = ADVERSARIAL_LOSSES[config.loss]
    loss = adversarial.real(real).mean() + adversarial.fake(fake).mean()
    metrics = _separation(real.detach(), fake.detach())
    if config.loss == "hinge":
        metrics["discriminator/dead_hinge"] = torch.cat([real > 1, fake < -1]).float().mean()
    if config.r1 != "none":
        if config.r1 == "exact":
            penalty = exact_r1(real_logits, real_features)
        else:
            penalty = approximate_r1(real, _nearby_logits(heads, judged))
        loss = loss + config.r1_weight * penalty
        metrics["discriminator/r1"] = penalty.detach()
    if judged.misaligned is not None:
        misaligned = _misaligned_loss(heads, judged.misaligned, sigma=judged.sigma, loss=adversarial.fake)
        loss = loss + config.misaligned_weight * misaligned
        metrics["discriminator/misaligned_loss"] = misaligned.detach()
    verdict = Verdict.of(real_logits, fake_logits, sigma=judged.sigma)
    return Terms(loss, {"discriminator/loss": loss.detach(), **metrics}, verdict)


def student_loss(
    heads: Heads, judged: Judged, *, config: DiscriminatorConfig, distillation: Tensor | None = None
) -> Terms:
    """The student's turn: look real at every token. The heads must not require gradients here.

    Args:
        heads: the judge.
        judged: its ``fake`` with the graph back to the student.
        config: names the loss.
        distillation: a second loss, already weighted, one value for each sample (b,).
    """
    fake = flatten_logits(_logits(heads, judged.fake, judged=judged))
    loss = ADVERSARIAL_LOSSES[config.loss].student(fake).mean()
    if distillation is None:
        return Terms(loss, {"student/loss": loss.detach()})
    metrics = {"student/adversarial_loss": loss.detach(), "student/distillation_loss": distillation.detach().mean()}
    loss = loss + distillation.mean()
    return Terms(loss, {"student/loss": loss.detach(), **metrics})


def distillation_sigma(drawn: Draw, config: DistillationConfig) -> Tensor:
    """Levels at which the teacher answers to the student's latents (b,), for the distillation loss."""
    return drawn.renoise_sigma if config.levels == "judge" else drawn.uniform_sigma


def _judge_misaligned(features: FeatureExtractor, x_real: Tensor, *, sigma: Tensor, prompt: Condition) -> Misaligned:
    neighbour = prompt.rows(torch.arange(len(x_real), device=x_real.device).roll(1))
    # Source and mask stay: a picture that does not fit its hole would be too easy to call fake.
    condition = prompt._replace(
        prompt_embeds=neighbour.prompt_embeds, pooled_prompt_embeds=neighbour.pooled_prompt_embeds
    )
    differs = (neighbour.prompt_embeds != prompt.prompt_embeds).flatten(1).any(dim=1)
    return Misaligned(features(x_real, sigma, *condition), judged_prompt(condition), differs)


def _misaligned_loss(heads: Heads, misaligned: Misaligned, *, sigma: Tensor, loss: LogitLoss) -> Tensor:
    """Mean over tokens, heads, and the samples whose neighbour has another prompt."""
    logits = heads(misaligned.features, sigma, misaligned.pooled_prompt_embeds)
    rows = torch.stack([loss(head_logits.float()).flatten(1).mean(dim=1) for head_logits in logits]).mean(dim=0)
    return (rows * misaligned.differs).sum() / misaligned.differs.sum().clamp(min=1)


def _logits(heads: Heads, features: list[Tensor], *, judged: Judged) -> list[Tensor]:
    return heads(features, judged.sigma, judged.pooled_prompt_embeds)


def _nearby_logits(heads: Heads, judged: Judged) -> Tensor:
    assert judged.nearby is not None, "judge() ran under another config"
    return flatten_logits(_logits(heads, judged.nearby, judged=judged))


def _separation(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """How far the judge is ahead."""
    return {
        "discriminator/real_logits": real.mean(),
        "discriminator/fake_logits": fake.mean(),
        "discriminator/accuracy": torch.cat([real > 0, fake < 0]).float().mean(),
    }
