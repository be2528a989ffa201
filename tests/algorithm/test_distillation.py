"""The distillation loss: its equation, whose gradient it is, and what leads the teacher row by row.

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.distillation import configured_distillation, distillation_loss, wants_guidance
from ladd_ray.algorithm.tasks import edit_channels, generate_channels, inpaint_channels
from ladd_ray.config import DistillationConfig
from ladd_ray.interfaces import Condition, LatentBatch

ROWS, SIZE = 3, (2, 4, 4)
GENERATE, EDIT, INPAINT = range(ROWS)
"""A row of each task."""
NEGATIVE = Condition(torch.zeros(1, 3, 5), torch.zeros(1, 4))
STRENGTHS = torch.tensor([[4.0, 1.7], [3.0, 2.0], [5.0, 1.2]])
"""What the rows are told; only an edit is led by its source, and the hole is of a real picture."""
LED = torch.tensor([[4.0, 1.0], [3.0, 2.0], [1.0, 1.0]])
REAL = torch.tensor([False, False, True])


def answer(text: Tensor, source: Tensor) -> Tensor:
    """The velocity (b, c, h, w) of a teacher that reads one number of the text and one of the source."""
    return (text + 10 * source)[:, None, None, None].expand(-1, *SIZE)


def teacher(
    x_sigma: Tensor,
    sigma: Tensor,
    prompt_embeds: Tensor,
    pooled: Tensor,
    task_channels: Tensor | None = None,
    strengths: Tensor | None = None,
) -> Tensor:
    assert task_channels is not None and strengths is None
    return answer(pooled[:, 0], task_channels[:, 1, 0, 0])


def batch() -> LatentBatch:
    torch.manual_seed(0)
    latents, source = torch.randn(ROWS, *SIZE), torch.full((ROWS, *SIZE), 2.0)
    hole = torch.zeros(ROWS, 1, 4, 4)
    hole[:, :, 1:3] = 1
    channels = [generate_channels(latents), edit_channels(source), inpaint_channels(source, hole)]
    tasks = torch.stack([given[row] for row, given in enumerate(channels)])
    return LatentBatch(latents, Condition(torch.randn(ROWS, 3, 5), torch.ones(ROWS, 4), tasks), (0, 1, 2), real=REAL)


def expected(scales: Tensor, found: LatentBatch, x0_pred: Tensor, *, sigma: Tensor, noise: Tensor) -> Tensor:
    """InstructPix2Pix's equation 3, row by row, and ADD's loss around it."""
    text, image = scales.unbind(dim=1)
    assert found.prompt.task_channels is not None
    source, nothing, empty = found.prompt.task_channels[:, 1, 0, 0], torch.zeros(ROWS), torch.zeros(ROWS)
    full, no_text, neither = answer(torch.ones(ROWS), source), answer(empty, source), answer(empty, nothing)
    image, text = (scale[:, None, None, None] for scale in (image, text))
    velocity = neither + image * (no_text - neither) + text * (full - no_text)
    target = flow.predict_x0(flow.add_noise(x0_pred, noise, sigma), velocity, sigma)
    return (1 - sigma) * (x0_pred - target).square().mean(dim=(1, 2, 3))


def loss(found: LatentBatch, config: DistillationConfig, negative: Condition | None) -> tuple[Tensor, Tensor]:
    """Ours and the arguments of ``expected``."""
    torch.manual_seed(1)
    x0_pred, noise, sigma = torch.randn(ROWS, *SIZE), torch.randn(ROWS, *SIZE), torch.tensor([0.2, 0.5, 0.8])
    ours = configured_distillation(
        teacher, x0_pred, batch=found, sigma=sigma, noise=noise, config=config, negative_prompt=negative
    )
    scales = LED if found.prompt.strengths is not None else torch.tensor(config_scales(config))
    return ours, config.weight * expected(scales, found, x0_pred, sigma=sigma, noise=noise)


def config_scales(config: DistillationConfig) -> list[list[float]]:
    """Only the edit is led by its source."""
    return [[config.guidance_scale, config.image_guidance_scale if row == EDIT else 1.0] for row in range(ROWS)]


@pytest.mark.parametrize("guidance", [(1.0, 1.0), (3.0, 1.0), (3.0, 1.5)])
def test_the_configured_guidance_leads_edits_by_their_source_and_nothing_else(guidance: tuple[float, float]) -> None:
    text, image = guidance
    config = DistillationConfig(weight=2.5, guidance_scale=text, image_guidance_scale=image)
    ours, theirs = loss(batch(), config, NEGATIVE if text > 1 else None)
    torch.testing.assert_close(ours, theirs)


def test_a_row_with_strengths_is_led_by_them() -> None:
    found = batch()
    told = replace(found, prompt=found.prompt._replace(strengths=STRENGTHS))
    ours, theirs = loss(told, DistillationConfig(weight=1.0), NEGATIVE)
    torch.testing.assert_close(ours, theirs)


def test_real_rows_are_led_as_configured_where_others_have_strengths() -> None:
    config = DistillationConfig(weight=1.0, guidance_scale=3.0)
    assert wants_guidance(DistillationConfig(weight=1.0, guidance_scale=3.0, rows="real"), knobs=True)
    found = batch()
    told = replace(found, prompt=found.prompt._replace(strengths=STRENGTHS))
    torch.manual_seed(1)
    x0_pred, noise, sigma = torch.randn(ROWS, *SIZE), torch.randn(ROWS, *SIZE), torch.tensor([0.2, 0.5, 0.8])
    ours = configured_distillation(
        teacher, x0_pred, batch=told, sigma=sigma, noise=noise, config=config, negative_prompt=NEGATIVE
    )
    scales = torch.where(REAL[:, None], torch.tensor([3.0, 1.0]), LED)
    torch.testing.assert_close(ours, expected(scales, told, x0_pred, sigma=sigma, noise=noise))


def test_edits_may_go_to_the_latents_themselves_at_any_level_and_whatever_the_weighting() -> None:
    found, x0_pred = batch(), torch.randn(ROWS, *SIZE)
    config = DistillationConfig(weight=2.5, edit_target="latents")
    rows = {
        (target, level): configured_distillation(
            teacher,
            x0_pred,
            batch=found,
            sigma=torch.full((ROWS,), level),
            noise=torch.ones(ROWS, *SIZE),
            config=config.model_copy(update={"edit_target": target}),
        )
        for target in ("latents", "teacher")
        for level in (0.2, 0.8)
    }
    error = (x0_pred - found.latents).square().mean(dim=(1, 2, 3))
    for level in (0.2, 0.8):
        towards_latents, towards_teacher = rows["latents", level], rows["teacher", level]
        torch.testing.assert_close(towards_latents[EDIT], 2.5 * error[EDIT])
        others = [row for row in range(ROWS) if row != EDIT]
        assert torch.equal(towards_latents[others], towards_teacher[others])
        assert towards_latents[EDIT] != towards_teacher[EDIT]


def test_real_rows_alone_are_led_by_nothing_where_they_have_strengths() -> None:
    config = DistillationConfig(weight=1.0, rows="real")
    assert not wants_guidance(config, knobs=True)
    assert wants_guidance(DistillationConfig(weight=1.0), knobs=True)
    assert not wants_guidance(DistillationConfig(weight=1.0), knobs=False)
    assert not wants_guidance(DistillationConfig(guidance_scale=3.0), knobs=True), "a loss without weight"
    found = batch()
    told = replace(found, prompt=found.prompt._replace(strengths=STRENGTHS))
    ours, theirs = loss(told, config, None)
    assert ours[:INPAINT].tolist() == [0, 0]
    torch.testing.assert_close(ours[INPAINT], theirs[INPAINT])


def test_no_gradient_passes_through_the_teachers_answer() -> None:
    found, noise, sigma = batch(), torch.randn(ROWS, *SIZE), torch.full((ROWS,), 0.5)
    x0_pred = found.latents.clone().requires_grad_()

    def echo(x_sigma: Tensor, *_: object) -> Tensor:
        return 3 * x_sigma

    distillation_loss(echo, x0_pred, batch=found, sigma=sigma, noise=noise).sum().backward()
    x_sigma = flow.add_noise(found.latents, noise, sigma)
    error = found.latents - flow.predict_x0(x_sigma, 3 * x_sigma, sigma)
    torch.testing.assert_close(x0_pred.grad, 0.5 * 2 * error / error[0].numel())
