"""ADD: what the heads are told, whose gradients a turn leaves, and both terms of the student's loss."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.algorithm import add, flow, ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import DiscriminatorConfig, DistillationConfig, NoiseConfig
from ladd_ray.interfaces import LatentBatch

from .networks import CHANNELS, POOLED, TinyDenoiser, latent_batch, prompts

CONFIG = DiscriminatorConfig(width=8, depth=1, r1="exact", r1_weight=1e-5)
DISTILLATION = DistillationConfig(weight=2.5)
WIDTHS, EMBEDDING = (8, 16), 16


class TinyDecoder(nn.Module):
    """Latents to pictures of twice the side."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(CHANNELS, 3, kernel_size=2, stride=2)
        self.requires_grad_(False)

    def forward(self, latents: Tensor) -> Tensor:
        return self.up(latents).tanh()


class TinyPixels(nn.Module):
    """An image network with two maps of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(3, WIDTHS[0], kernel_size=2, stride=2)
        self.deep = nn.Conv2d(WIDTHS[0], WIDTHS[1], kernel_size=1)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> add.PixelReading:
        shallow = functional.silu(self.shallow(images))
        deep = functional.silu(self.deep(shallow))
        return add.PixelReading([shallow, deep], deep.mean(dim=(2, 3)))


class Setting:
    """All networks and one batch of a step."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.student, self.teacher = TinyDenoiser(), TinyDenoiser().requires_grad_(False)
        self.decoder, self.features = TinyDecoder(), TinyPixels()
        self.heads = DiscriminatorHeads(
            WIDTHS, POOLED + EMBEDDING, num_blocks=2, width=8, depth=1, condition_on_sigma=False
        )
        self.batch = latent_batch(8)
        self.drawn = ladd.draw(self.batch, NoiseConfig(), step=0, seed=0)
        self.x0_pred = ladd.generate(self.student, self.batch, drawn=self.drawn)

    def judge(self) -> ladd.Judged:
        return add.judge(self.features, self.x0_pred, decode=self.decoder, batch=self.batch, drawn=self.drawn)

    def student_loss(self, judged: ladd.Judged, *, distillation: DistillationConfig = DISTILLATION) -> ladd.Terms:
        return add.student_loss(
            self.heads,
            judged,
            self.x0_pred,
            teacher=self.teacher,
            batch=self.batch,
            drawn=self.drawn,
            config=CONFIG,
            distillation=distillation,
        )


def has_gradient(module: nn.Module) -> set[bool]:
    return {weight.grad is not None for weight in module.parameters()}


def test_heads_are_told_the_picture_where_the_student_has_seen_some_of_it() -> None:
    sigma = torch.tensor([1.0, 0.75, 0.25])
    pooled, embedding = torch.randn(3, 5), torch.randn(3, 7)
    condition = add.head_condition(pooled, embedding, sigma=sigma)
    assert condition.shape == (3, 12)
    torch.testing.assert_close(condition[:, :5], functional.layer_norm(pooled, (5,)))
    assert not condition[0, 5:].any()
    torch.testing.assert_close(condition[1:, 5:], functional.layer_norm(embedding, (7,))[1:])


def test_judge_reads_the_decoded_latents_of_both_sides() -> None:
    setting = Setting()
    judged = setting.judge()
    for maps, latents in ((judged.fake, setting.x0_pred), (judged.real, setting.batch.latents)):
        expected = setting.features(setting.decoder(latents)).maps
        assert [tuple(one.shape[1:]) for one in maps] == [(8, 4, 6), (16, 4, 6)]
        assert all(torch.equal(one, other) for one, other in zip(maps, expected, strict=True))
    assert all(one.requires_grad for one in judged.fake)
    assert not any(one.requires_grad for one in judged.real)


def test_heads_turn_reaches_the_heads_only() -> None:
    setting = Setting()
    terms = ladd.discriminator_loss(setting.heads, setting.judge(), config=CONFIG)
    terms.loss.backward()
    assert has_gradient(setting.heads) == {True}
    assert has_gradient(setting.student) == {False}
    assert terms.metrics["discriminator/r1"] > 0


def test_students_turn_passes_through_decoder_and_features_and_leaves_nothing_there() -> None:
    setting = Setting()
    setting.heads.requires_grad_(False)
    # Without distillation the pixels are the only way back to the student.
    setting.student_loss(setting.judge(), distillation=DistillationConfig(weight=0.0)).loss.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in setting.student.parameters())
    for frozen in (setting.decoder, setting.features, setting.heads, setting.teacher):
        assert has_gradient(frozen) == {False}


@pytest.mark.parametrize("levels", ["judge", "uniform"])
def test_students_loss_is_the_sum_of_both_terms(levels: Literal["judge", "uniform"]) -> None:
    setting = Setting()
    judged, drawn = setting.judge(), setting.drawn
    logits = setting.heads(judged.fake, judged.sigma, judged.pooled_prompt_embeds)
    adversarial = -torch.cat([one.flatten() for one in logits]).mean()
    sigma = drawn.renoise_sigma if levels == "judge" else drawn.uniform_sigma
    x_sigma = flow.add_noise(setting.x0_pred, drawn.fake_noise, sigma)
    velocity = setting.teacher(x_sigma, sigma, *setting.batch.prompt)
    target = flow.predict_x0(x_sigma, velocity, sigma).detach()
    distance = (setting.x0_pred - target).square().mean(dim=(1, 2, 3))
    expected = adversarial + 2.5 * ((1 - sigma) * distance).mean()
    config = DistillationConfig(weight=2.5, levels=levels)
    torch.testing.assert_close(setting.student_loss(judged, distillation=config).loss, expected)


MODES = torch.tensor([[1.0, 0.5], [-1.0, 0.5]])
ONE_LEVEL = NoiseConfig(levels=(1.0,), probabilities=(1.0,), warmup_probabilities=(1.0,), renoise_mean=-2.0)


def two_points(first_id: int, rows: int) -> LatentBatch:
    ids = tuple(range(first_id, first_id + rows))
    return LatentBatch(MODES[torch.tensor(ids) % 2][:, :, None, None], prompts(rows), ids)


def spread_after_training(seed: int) -> Tensor:
    """Standard deviations along and across the line through both points, from an untrained student's 1."""
    setting = Setting(seed)
    student, heads = setting.student, setting.heads
    optimizers = [torch.optim.Adam(one.parameters(), lr=1e-2, betas=(0.0, 0.99)) for one in (student, heads)]

    def spread() -> Tensor:
        batch = two_points(0, 500)
        with torch.no_grad():
            points = ladd.generate(student, batch, drawn=ladd.draw(batch, ONE_LEVEL, step=0, seed=1))
        return points.flatten(1).std(dim=0)

    assert spread()[1] > 0.8, "an untrained student returns its noise"
    for step in range(120):
        batch = two_points(step * 32, 32)
        drawn = ladd.draw(batch, ONE_LEVEL, step=step, seed=0)
        x0_pred = ladd.generate(student, batch, drawn=drawn)
        judged = add.judge(setting.features, x0_pred, decode=setting.decoder, batch=batch, drawn=drawn)
        ladd.discriminator_loss(heads, judged, config=CONFIG).loss.backward()
        optimizers[1].step()
        heads.zero_grad()
        ladd.student_loss(heads, judged, config=CONFIG).loss.backward()
        optimizers[0].step()
        student.zero_grad()
        heads.zero_grad()
    return spread()


def test_student_learns_two_points_from_noise_by_their_pictures() -> None:
    # Single trainings differ, and one of them also between processors: the median of several does not.
    along, across = torch.stack([spread_after_training(seed) for seed in range(5)]).median(dim=0).values
    assert across < 0.5, "both points lie on one line"
    assert along > 0.7, "the two points lie apart"
