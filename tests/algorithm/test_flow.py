import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from ladd_ray.algorithm import flow

SIGMAS = torch.tensor([0.0, 0.25, 0.6, 1.0], dtype=torch.float64)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(4, 3, 2, 5, generator=generator, dtype=torch.float64)
    return x0, torch.randn(4, 3, 2, 5, generator=generator, dtype=torch.float64)


def test_ends_of_the_path_are_exact() -> None:
    x0, noise = pair()
    x_sigma = flow.add_noise(x0, noise, SIGMAS)
    assert torch.equal(x_sigma[0], x0[0])
    assert torch.equal(x_sigma[3], noise[3])


def test_velocity_is_the_derivative_of_the_path() -> None:
    x0, noise = pair()
    step = 1e-3
    moved = flow.add_noise(x0, noise, SIGMAS + step) - flow.add_noise(x0, noise, SIGMAS)
    torch.testing.assert_close(moved / step, flow.velocity(x0, noise), rtol=0, atol=1e-11)


def test_x0_survives_the_round_trip() -> None:
    x0, noise = pair()
    x_sigma = flow.add_noise(x0, noise, SIGMAS)
    back = flow.predict_x0(x_sigma, flow.velocity(x0, noise), SIGMAS)
    torch.testing.assert_close(back, x0, rtol=0, atol=1e-14)


def test_shift_keeps_the_ends_and_is_undone_by_its_inverse() -> None:
    shifted = flow.shift_sigma(SIGMAS, 3.0)
    assert shifted[0] == 0
    assert shifted[-1] == 1
    assert (shifted[1:-1] > SIGMAS[1:-1]).all()
    torch.testing.assert_close(flow.shift_sigma(shifted, 1 / 3), SIGMAS, rtol=0, atol=1e-14)


def test_logit_normal_has_the_logits_asked_for() -> None:
    gaussian = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.logit(flow.logit_normal(gaussian, mean=1.0, std=0.5))
    assert logits.mean().item() == pytest.approx(1.0, abs=0.02)
    assert logits.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("num_steps", [1, 4, 28, 50])
def test_teacher_sigmas_are_those_of_diffusers(num_steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(num_steps)
    sigmas = flow.teacher_sigmas(num_steps, shift)
    assert len(sigmas) == num_steps + 1
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert sigmas == pytest.approx(scheduler.sigmas.tolist(), rel=0, abs=1e-7)


def test_teacher_needs_a_step() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        flow.teacher_sigmas(0, 3.0)
