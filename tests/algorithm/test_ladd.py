from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ladd_ray.algorithm import flow, ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import DiscriminatorConfig, NoiseConfig
from ladd_ray.interfaces import LatentBatch

from .networks import HIDDEN, POOLED, TinyDenoiser, TinyFeatures, latent_batch

NOISE = NoiseConfig()


class Setting:
    """A student, a teacher, heads and one batch of a step."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        torch.manual_seed(0)
        self.config = config or DiscriminatorConfig(width=8)
        self.student = TinyDenoiser()
        self.features = TinyFeatures()
        self.heads = DiscriminatorHeads.from_config(self.config, HIDDEN, pooled_size=POOLED, num_blocks=2)
        self.batch = latent_batch()
        self.drawn = ladd.draw(self.batch, NOISE, step=0, seed=0)

    def judge(self) -> ladd.Judged:
        x0_pred = ladd.generate(self.student, self.batch, drawn=self.drawn)
        return ladd.judge(self.features, x0_pred, batch=self.batch, drawn=self.drawn, config=self.config)


def has_gradient(module: nn.Module) -> set[bool]:
    return {weight.grad is not None for weight in module.parameters()}


def test_draw_is_the_same_for_any_split_into_micro_batches() -> None:
    whole = latent_batch(4)
    halves = [
        LatentBatch(whole.latents[rows], whole.prompt.rows(rows), whole.sample_ids[rows])
        for rows in (slice(0, 2), slice(2, 4))
    ]
    together = ladd.draw(whole, NOISE, step=3, seed=1)
    apart = [ladd.draw(half, NOISE, step=3, seed=1) for half in halves]
    for name, value in vars(together).items():
        assert torch.equal(value, torch.cat([getattr(half, name) for half in apart])), name


def test_draw_takes_other_noise_for_every_purpose() -> None:
    noises = [value for value in vars(Setting().drawn).values() if value.dim() == 4]
    assert len(noises) == 4
    assert all(not torch.isclose(first, second).all() for first in noises for second in noises if first is not second)


def test_warmup_moves_only_the_levels_of_the_student() -> None:
    config, batch = NoiseConfig(warmup_steps=10), latent_batch(32)
    before, after = (ladd.draw(batch, config, step=step, seed=0) for step in (9, 10))
    assert before.sigma.max() == 0.5
    assert after.sigma.max() == 1.0
    assert torch.equal(replace(before, sigma=after.sigma).noise, after.noise)
    assert torch.equal(before.renoise_sigma, after.renoise_sigma)


def test_student_of_the_true_velocity_returns_the_latents() -> None:
    setting = Setting()
    latents, noise = setting.batch.latents, setting.drawn.noise

    def perfect(
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
    ) -> Tensor:
        torch.testing.assert_close(x_sigma, flow.add_noise(latents, noise, sigma))
        return flow.velocity(latents, noise)

    x0_pred = ladd.generate(perfect, setting.batch, drawn=setting.drawn)
    torch.testing.assert_close(x0_pred, latents, rtol=0, atol=1e-6)


def test_judge_sees_both_sides_noised_to_one_level() -> None:
    setting = Setting()
    drawn, x0_pred = setting.drawn, torch.zeros_like(setting.batch.latents)
    ladd.judge(setting.features, x0_pred, batch=setting.batch, drawn=drawn, config=setting.config)
    fake, real = setting.features.seen
    sigma = drawn.renoise_sigma[:, None, None, None]
    torch.testing.assert_close(fake, sigma * drawn.fake_noise)
    torch.testing.assert_close(real, (1 - sigma) * setting.batch.latents + sigma * drawn.real_noise)


def test_heads_turn_reaches_the_heads_only() -> None:
    setting = Setting()
    ladd.discriminator_loss(setting.heads, setting.judge(), config=setting.config).loss.backward()
    assert has_gradient(setting.heads) == {True}
    assert has_gradient(setting.student) == {False}
    assert has_gradient(setting.features) == {False}


def test_students_turn_reaches_the_student_only() -> None:
    setting = Setting()
    judged = setting.judge()
    ladd.discriminator_loss(setting.heads, judged, config=setting.config).loss.backward()
    setting.heads.zero_grad(set_to_none=True)
    setting.heads.requires_grad_(False)
    ladd.student_loss(setting.heads, judged, config=setting.config).loss.backward()
    assert has_gradient(setting.student) == {True}
    assert has_gradient(setting.heads) == {False}
    assert has_gradient(setting.features) == {False}


def test_student_may_train_after_the_heads_have_stepped() -> None:
    setting = Setting()
    judged = setting.judge()
    optimizer = torch.optim.SGD(setting.heads.parameters(), lr=0.1)
    ladd.discriminator_loss(setting.heads, judged, config=setting.config).loss.backward()
    optimizer.step()
    ladd.student_loss(setting.heads, judged, config=setting.config).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in setting.student.parameters())


def fixed_heads(features: list[Tensor], sigma: Tensor, pooled_prompt_embeds: Tensor) -> list[Tensor]:
    return [feature[:, 0] for feature in features]


def judged_logits(real: list[float], fake: list[float]) -> ladd.Judged:
    maps = [[torch.tensor(side).view(1, 1, 1, -1)] for side in (real, fake)]
    return ladd.Judged(maps[1], maps[0], nearby=None, sigma=torch.ones(1), pooled_prompt_embeds=torch.ones(1, 1))


def test_losses_and_metrics_are_per_token() -> None:
    judged = judged_logits(real=[5.0, -3.0], fake=[-5.0, 3.0])
    config = DiscriminatorConfig()
    heads_turn = ladd.discriminator_loss(fixed_heads, judged, config=config)
    metrics = {name: value.item() for name, value in heads_turn.metrics.items()}
    assert heads_turn.loss.item() == 4.0
    assert metrics == {
        "discriminator/loss": 4.0,
        "discriminator/real_logits": 1.0,
        "discriminator/fake_logits": -1.0,
        "discriminator/accuracy": 0.5,
        "discriminator/dead_hinge": 0.5,
    }
    student_turn = ladd.student_loss(fixed_heads, judged, config=config)
    assert student_turn.loss.item() == 1.0
    assert student_turn.metrics["student/loss"].item() == 1.0
    assert not any(value.requires_grad for value in (*heads_turn.metrics.values(), *student_turn.metrics.values()))


@pytest.mark.parametrize("loss", ["softplus", "bce"])
def test_a_loss_without_a_margin_has_no_dead_logits(loss: str) -> None:
    """Sure heads still learn there, and a run must not be stopped for it."""
    judged = judged_logits(real=[5.0, 5.0], fake=[-5.0, -5.0])
    metrics = ladd.discriminator_loss(fixed_heads, judged, config=DiscriminatorConfig(loss=loss)).metrics
    assert "discriminator/dead_hinge" not in metrics
    assert metrics["discriminator/accuracy"] == 1


def test_approximate_penalty_moves_the_noised_latents() -> None:
    setting = Setting(DiscriminatorConfig(width=8, r1="approximate", r1_weight=100.0, r1_perturbation=0.3))
    judged = setting.judge()
    _, real, nearby = setting.features.seen
    torch.testing.assert_close(nearby - real, 0.3 * setting.drawn.perturbation, rtol=0, atol=1e-6)
    with_penalty = ladd.discriminator_loss(setting.heads, judged, config=setting.config)
    plain = DiscriminatorConfig(width=8)
    without = ladd.discriminator_loss(setting.heads, judged, config=plain)
    penalty = with_penalty.metrics["discriminator/r1"]
    assert penalty > 0
    torch.testing.assert_close(with_penalty.loss, without.loss + 100 * penalty)


def test_exact_penalty_reaches_the_weights_of_the_heads() -> None:
    setting = Setting(DiscriminatorConfig(width=8, r1="exact", r1_weight=0.5))
    judged = setting.judge()
    terms = ladd.discriminator_loss(setting.heads, judged, config=setting.config)
    without = ladd.discriminator_loss(setting.heads, judged, config=DiscriminatorConfig(width=8))
    torch.testing.assert_close(terms.loss, without.loss + 0.5 * terms.metrics["discriminator/r1"])
    weights = list(setting.heads.parameters())
    first = torch.autograd.grad(terms.loss, weights)
    second = torch.autograd.grad(without.loss, weights)
    assert any(not torch.allclose(one, other) for one, other in zip(first, second, strict=True))
    assert not any(feature.requires_grad for feature in judged.real)
