"""Task channels, and guidance by text and source. Shapes: b batch, c channels, h w latent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.guidance import guided_velocity
from ladd_ray.algorithm.tasks import edit_channels, generate_channels, inpaint_channels, without_source
from ladd_ray.interfaces import Condition
from tests.algorithm.networks import CHANNELS, prompts

ROWS, HEIGHT, WIDTH = 3, 4, 6


def picture(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, CHANNELS, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def linear_denoiser(
    x_sigma: Tensor,
    sigma: Tensor,
    prompt_embeds: Tensor,
    pooled: Tensor,
    task_channels: Tensor | None = None,
    strengths: Tensor | None = None,
) -> Tensor:
    """Answers with something of every input, so that a wrong row or source shows."""
    answer = x_sigma * sigma[:, None, None, None] + pooled.sum(1)[:, None, None, None]
    return answer if task_channels is None else answer * (1 + task_channels[:, :1]) + 2 * task_channels[:, 1:]


def test_mask_comes_first_and_generation_gives_nothing() -> None:
    source, hole = picture(), torch.zeros(ROWS, 1, HEIGHT, WIDTH, dtype=torch.bool)
    hole[..., :2] = True
    channels = inpaint_channels(source, hole)
    assert torch.equal(channels[:, :1], hole.double())
    assert torch.equal(channels[:, 1:], source)
    assert torch.equal(edit_channels(source)[:, :1], torch.ones(ROWS, 1, HEIGHT, WIDTH, dtype=torch.float64))
    assert generate_channels(source)[:, 1:].abs().max() == 0


def test_without_source_is_generation() -> None:
    condition = prompts(ROWS, dtype=torch.float64)._replace(task_channels=edit_channels(picture()))
    dropped = without_source(condition)
    assert torch.equal(dropped.task_channels, generate_channels(picture()))
    assert torch.equal(dropped.prompt_embeds, condition.prompt_embeds)
    plain = prompts(ROWS)
    assert without_source(plain) is plain


@pytest.mark.parametrize("image_scale", [1.0, 1.6])
def test_guidance_by_text_and_source_is_its_equation(image_scale: float) -> None:
    x_sigma, sigma = picture(1), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    source = edit_channels(picture(2))
    prompt = prompts(ROWS, dtype=torch.float64)._replace(task_channels=source)
    negative = prompts(1, seed=9, dtype=torch.float64)

    def velocity(text: Condition, task: Tensor) -> Tensor:
        return linear_denoiser(x_sigma, sigma, *text.expand(ROWS)._replace(task_channels=task))

    nothing, image = velocity(negative, generate_channels(x_sigma)), velocity(negative, source)
    expected = nothing + image_scale * (image - nothing) + 3 * (velocity(prompt, source) - image)
    guided = guided_velocity(
        linear_denoiser,
        x_sigma,
        sigma=sigma,
        prompt=prompt,
        negative_prompt=negative,
        guidance_scale=3.0,
        image_guidance_scale=image_scale,
    )
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-12)


def test_rows_of_one_batch_have_strengths_of_their_own() -> None:
    x_sigma, sigma = picture(1), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    prompt = prompts(ROWS, dtype=torch.float64)._replace(task_channels=edit_channels(picture(2)))
    negative = prompts(1, seed=9, dtype=torch.float64)
    scales = [(3.0, 1.0), (1.0, 1.0), (4.5, 1.7)]
    text, image = torch.tensor(scales).T

    def velocity(text_scale: float | Tensor, image_scale: float | Tensor) -> Tensor:
        return guided_velocity(
            linear_denoiser,
            x_sigma,
            sigma=sigma,
            prompt=prompt,
            negative_prompt=negative,
            guidance_scale=text_scale,
            image_guidance_scale=image_scale,
        )

    together = velocity(text, image)
    for row, (of_text, of_image) in enumerate(scales):
        torch.testing.assert_close(together[row], velocity(of_text, of_image)[row], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="in the same row"):
        velocity(text, torch.tensor([1.0, 1.2, 1.0]))


def test_image_guidance_alone_is_refused() -> None:
    prompt = prompts(ROWS, dtype=torch.float64)._replace(task_channels=edit_channels(picture()))
    with pytest.raises(ValueError, match="needs text guidance"):
        guided_velocity(
            linear_denoiser,
            picture(),
            sigma=torch.ones(ROWS, dtype=torch.float64),
            prompt=prompt,
            negative_prompt=prompts(1),
            guidance_scale=1.0,
            image_guidance_scale=1.5,
        )


def test_conditions_are_cut_moved_and_joined_with_their_tasks() -> None:
    condition = prompts(ROWS)._replace(task_channels=edit_channels(picture()))
    joined = Condition.concatenate(condition.rows(slice(1, 3)), condition.rows(slice(0, 1)))
    assert torch.equal(joined.task_channels, condition.task_channels[[1, 2, 0]])
    assert condition.to("cpu", torch.bfloat16).task_channels.dtype == torch.bfloat16
    assert Condition.concatenate(prompts(1), prompts(2)).task_channels is None
