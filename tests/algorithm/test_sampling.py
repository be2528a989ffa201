import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from ladd_ray.algorithm import flow, noise, sampling
from ladd_ray.algorithm.guidance import guided_velocity

from .networks import CHANNELS, TinyDenoiser, prompts

SHAPE = (CHANNELS, 4, 6)


class PerfectDenoiser:
    """Knows x0 and records the levels it was asked at."""

    def __init__(self, x0: Tensor) -> None:
        self.x0 = x0
        self.levels: list[float] = []
        self.inputs: list[Tensor] = []

    def __call__(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
    ) -> Tensor:
        self.levels.append(sigma[0].item())
        self.inputs.append(x_sigma)
        return (x_sigma - self.x0) / sigma[:, None, None, None]


def latents(rows: int = 2) -> Tensor:
    return noise.gaussian(SHAPE, seed=1, purpose="x0", sample_ids=range(rows)).double()


def double_noise(step: int) -> Tensor:
    return noise.per_step(SHAPE, seed=0, sample_ids=(1, 2))(step).double()


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.5), (1.0, 0.75, 0.5, 0.25)])
def test_perfect_student_returns_x0_through_fresh_noise(levels: tuple[float, ...]) -> None:
    denoiser = PerfectDenoiser(latents())
    drawn = sampling.sample_student(denoiser, prompts(2), levels=levels, noise_for=double_noise)
    torch.testing.assert_close(drawn, latents(), rtol=0, atol=1e-14)
    assert tuple(denoiser.levels) == levels
    for step, (level, seen) in enumerate(zip(levels, denoiser.inputs, strict=True)):
        expected = (1 - level) * latents() + level * double_noise(step)
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-14)


def test_perfect_teacher_returns_x0() -> None:
    denoiser = PerfectDenoiser(latents())
    drawn = sampling.sample_teacher(
        denoiser,
        prompts(2),
        negative_prompt=prompts(1),
        noise=double_noise(0),
        sigmas=flow.teacher_sigmas(7, 3.0),
        guidance_scale=1.0,
    )
    torch.testing.assert_close(drawn, latents(), rtol=0, atol=1e-13)


def test_guided_teacher_walks_like_diffusers() -> None:
    torch.manual_seed(0)
    denoiser, prompt, negative = TinyDenoiser(), prompts(2), prompts(2, seed=9)
    start = noise.gaussian(SHAPE, seed=0, purpose="sample/0", sample_ids=(0, 1))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(6)
    x_sigma = start
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            sigma = (timestep / 1000).expand(2)
            with_prompt, without = denoiser(x_sigma, sigma, *prompt), denoiser(x_sigma, sigma, *negative)
            x_sigma = scheduler.step(without + 4 * (with_prompt - without), timestep, x_sigma).prev_sample
    drawn = sampling.sample_teacher(
        denoiser,
        prompt,
        negative_prompt=negative,
        noise=start,
        sigmas=flow.teacher_sigmas(6, 3.0),
        guidance_scale=4.0,
    )
    torch.testing.assert_close(drawn, x_sigma, rtol=1e-5, atol=1e-5)
    assert not drawn.requires_grad


def test_guidance_is_its_formula_and_one_forward() -> None:
    torch.manual_seed(0)
    denoiser, prompt, negative = TinyDenoiser().double(), prompts(2, dtype=torch.float64), prompts(1, seed=9)
    negative = negative.to("cpu", torch.float64)
    sigma, x_sigma = torch.tensor([0.3, 0.8], dtype=torch.float64), latents()
    calls: list[int] = []
    denoiser.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))

    def velocity(guidance_scale: float) -> Tensor:
        return guided_velocity(
            denoiser,
            x_sigma,
            sigma=sigma,
            prompt=prompt,
            negative_prompt=negative,
            guidance_scale=guidance_scale,
        )

    guided, plain = velocity(3.0), velocity(1.0)
    assert calls == [4, 2]
    without = denoiser(x_sigma, sigma, *negative.expand(2))
    torch.testing.assert_close(plain, denoiser(x_sigma, sigma, *prompt))
    torch.testing.assert_close(guided, without + 3 * (plain - without), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigmas", [(1.0, 0.5), (0.9, 0.0), (1.0, 0.2, 0.5, 0.0), (0.0,)])
def test_levels_that_do_not_fall_from_noise_to_clean_are_refused(sigmas: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"from 1 \(pure noise\) to 0"):
        sampling.denoise(lambda x_sigma, sigma: x_sigma, latents(), sigmas=sigmas)
