"""Consistency distillation: its equations in float64, what it draws, and that a student learns to jump."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm import flow, lcm, tasks
from ladd_ray.config import LcmConfig
from ladd_ray.interfaces import Condition, LatentBatch

from .networks import CHANNELS, POOLED, TinyDenoiser, latent_batch, prompts

CONFIG = LcmConfig(num_levels=40, skip=2, guidance=(2.0, 6.0))
EMPTY = prompts(1, seed=9, dtype=torch.float64)


def double_batch(rows: int = 6) -> LatentBatch:
    batch = latent_batch(rows)
    return replace(batch, latents=batch.latents.double(), prompt=batch.prompt.to("cpu", torch.float64))


def straight(x_sigma: Tensor, sigma: Tensor, *condition: Tensor | None) -> Tensor:
    """A velocity that depends on everything it is given."""
    pooled = condition[1]
    assert pooled is not None
    return torch.sin(3 * x_sigma) + (sigma + pooled.sum(dim=1))[:, None, None, None]


def test_boundary_condition_holds_for_any_network() -> None:
    batch = double_batch()
    at_zero = torch.zeros(6, dtype=torch.float64)
    found = lcm.consistency(TinyDenoiser().double(), batch.latents, sigma=at_zero, condition=batch.prompt)
    assert torch.equal(found, batch.latents)


def test_teacher_step_is_eulers_step_along_the_guided_velocity() -> None:
    batch = double_batch()
    drawn = lcm.draw(batch, CONFIG, seed=0)
    x_sigma = lcm.student_input(batch, drawn)
    found = lcm.teacher_step(straight, x_sigma, condition=batch.prompt, drawn=drawn, negative_prompt=EMPTY)
    for row in range(6):
        sigma, towards, guidance = drawn.sigma[row], drawn.next_sigma[row], drawn.guidance[row]
        rows = slice(row, row + 1)
        with_prompt = straight(x_sigma[rows], sigma[None], *batch.prompt.rows(rows))
        without = straight(x_sigma[rows], sigma[None], *EMPTY)
        expected = x_sigma[rows] - (sigma - towards) * (without + guidance * (with_prompt - without))
        torch.testing.assert_close(found[rows], expected, rtol=0, atol=1e-12)


def test_teacher_step_stays_on_a_straight_line() -> None:
    """Under the true velocity, one step of the teacher is the same picture under the same noise."""
    batch = double_batch()
    drawn = lcm.draw(batch, CONFIG, seed=0)
    true_velocity = flow.velocity(batch.latents, drawn.noise)

    def teacher(x_sigma: Tensor, sigma: Tensor, *condition: Tensor | None) -> Tensor:
        return true_velocity.repeat(len(x_sigma) // len(true_velocity), 1, 1, 1)

    x_sigma = lcm.student_input(batch, drawn)
    found = lcm.teacher_step(teacher, x_sigma, condition=batch.prompt, drawn=drawn, negative_prompt=EMPTY)
    torch.testing.assert_close(found, flow.add_noise(batch.latents, drawn.noise, drawn.next_sigma), rtol=0, atol=1e-12)


def test_levels_lie_on_the_grid_and_reach_both_ends() -> None:
    batch = replace(double_batch(), sample_ids=tuple(range(2000)), latents=torch.zeros(2000, CHANNELS, 1, 1).double())
    drawn = lcm.draw(batch, CONFIG, seed=0)
    places = drawn.sigma * CONFIG.num_levels
    torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-12)
    torch.testing.assert_close(drawn.sigma - drawn.next_sigma, torch.full_like(drawn.sigma, 2 / 40), rtol=0, atol=1e-12)
    assert set(places.round().long().tolist()) == set(range(2, 41))
    assert 2 <= drawn.guidance.min() < 2.1
    assert 5.9 < drawn.guidance.max() <= 6


def test_draw_is_the_same_for_any_split_into_micro_batches() -> None:
    whole = latent_batch(4)
    halves = [
        LatentBatch(whole.latents[rows], whole.prompt.rows(rows), whole.sample_ids[rows])
        for rows in (slice(0, 2), slice(2, 4))
    ]
    together, apart = lcm.draw(whole, CONFIG, seed=1), [lcm.draw(half, CONFIG, seed=1) for half in halves]
    for name, value in vars(together).items():
        assert torch.equal(value, torch.cat([getattr(half, name) for half in apart])), name


def test_only_a_student_with_knobs_hears_the_guidance() -> None:
    batch = latent_batch(4)
    drawn = lcm.draw(batch, CONFIG, seed=0)
    assert lcm.student_condition(batch.prompt, drawn).strengths is None
    with_knobs = batch.prompt._replace(strengths=torch.zeros(4, 2))
    heard = lcm.student_condition(with_knobs, drawn).strengths
    assert heard is not None
    assert torch.equal(heard, torch.stack([drawn.guidance, torch.ones(4)], dim=1))


def test_the_teacher_is_not_shown_the_knobs() -> None:
    batch = double_batch(2)
    seen: list[tuple[Tensor | None, ...]] = []

    def teacher(x_sigma: Tensor, sigma: Tensor, *condition: Tensor | None) -> Tensor:
        seen.append(condition)
        return x_sigma

    drawn = lcm.draw(batch, CONFIG, seed=0)
    prompt = batch.prompt._replace(strengths=torch.ones(2, 2).double())
    lcm.teacher_step(teacher, batch.latents, condition=prompt, drawn=drawn, negative_prompt=EMPTY)
    assert [condition[3] for condition in seen] == [None]


def test_a_source_picture_stays_in_both_terms_of_guidance() -> None:
    batch = double_batch(2)
    source = tasks.edit_channels(torch.ones_like(batch.latents))
    seen: list[Tensor | None] = []

    def teacher(x_sigma: Tensor, sigma: Tensor, *condition: Tensor | None) -> Tensor:
        seen.append(condition[2])
        return x_sigma

    drawn = lcm.draw(batch, CONFIG, seed=0)
    prompt = batch.prompt._replace(task_channels=source)
    lcm.teacher_step(teacher, batch.latents, condition=prompt, drawn=drawn, negative_prompt=EMPTY)
    (channels,) = seen
    assert channels is not None
    assert torch.equal(channels, source.repeat(2, 1, 1, 1))


def test_loss_is_the_pseudo_huber_distance() -> None:
    predicted = torch.tensor([3.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).requires_grad_()
    target = torch.zeros(1, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    terms = lcm.consistency_loss(predicted, target, config=LcmConfig(huber_c=4.0))
    assert terms.loss.item() == pytest.approx((5 - 4) / 2)
    terms.loss.backward()
    assert target.grad is None
    assert predicted.grad is not None
    assert predicted.grad.flatten().tolist() == pytest.approx([3 / 5 / 2, 0])


def test_student_learns_to_jump_where_the_teacher_walks() -> None:
    """All latents are one point, so every true flow line ends there: after training, one step from noise does too."""
    torch.manual_seed(0)
    point = torch.tensor([1.5, -0.5])[:, None, None]

    def teacher(x_sigma: Tensor, sigma: Tensor, *condition: Tensor | None) -> Tensor:
        return (x_sigma - point) / sigma[:, None, None, None]

    student = TinyDenoiser()
    average = copy.deepcopy(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    config = LcmConfig(num_levels=20, skip=2, guidance=(1.0, 1.0))
    empty = Condition(torch.zeros(1, 3, 5), torch.zeros(1, POOLED))

    def one_step_error() -> float:
        noise = torch.randn(200, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            drawn = lcm.consistency(student, noise, sigma=torch.ones(200), condition=prompts(200))
        return (drawn - point).square().mean().sqrt().item()

    before = one_step_error()
    for step in range(200):
        rows = 32
        ids = tuple(range(step * rows, (step + 1) * rows))
        batch = LatentBatch(point.expand(rows, CHANNELS, 1, 1), prompts(rows), ids)
        drawn = lcm.draw(batch, config, seed=0)
        x_sigma = lcm.student_input(batch, drawn)
        x_next = lcm.teacher_step(teacher, x_sigma, condition=batch.prompt, drawn=drawn, negative_prompt=empty)
        with torch.no_grad():
            target = lcm.consistency(average, x_next, sigma=drawn.next_sigma, condition=batch.prompt)
        predicted = lcm.consistency(student, x_sigma, sigma=drawn.sigma, condition=batch.prompt)
        lcm.consistency_loss(predicted, target, config=config).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for shadow, weight in zip(average.parameters(), student.parameters(), strict=True):
                shadow.lerp_(weight, 0.2)
    assert before > 1.0
    assert one_step_error() < 0.4
