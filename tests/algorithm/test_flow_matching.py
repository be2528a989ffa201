"""Flow matching for three tasks, in float64. Shapes: b batch, c channels, h w latent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ladd_ray.algorithm.flow_matching import Draw, draw, flow_matching_loss, leave_out
from ladd_ray.algorithm.tasks import (
    EDIT,
    GENERATE,
    INPAINT,
    edit_channels,
    generate_channels,
    inpaint_channels,
    task_of,
)
from ladd_ray.interfaces import Condition, LatentBatch
from ladd_ray.pretrain_config import DropoutConfig, FlowNoiseConfig
from tests.algorithm.networks import CHANNELS, prompts

HEIGHT, WIDTH = 4, 6
NOTHING_DROPPED = DropoutConfig(text=0, image=0, both=0)


class LinearDenoiser(nn.Module):
    """Answers a weight times all it sees, so that every input shows in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
    ) -> Tensor:
        seen = x_sigma + sigma[:, None, None, None] + pooled.sum(1)[:, None, None, None]
        seen = seen + prompt_embeds.sum((1, 2))[:, None, None, None]
        return self.weight * (seen if task_channels is None else seen + task_channels[:, :1] + task_channels[:, 1:])


def latents(rows: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, CHANNELS, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def batch(rows: int = 9, *, first_id: int = 0) -> LatentBatch:
    """Rows generate, edit and inpaint in turn."""
    source, hole = latents(rows, seed=1), torch.zeros(rows, 1, HEIGHT, WIDTH)
    hole[..., :2] = 1
    kinds = [generate_channels(source), edit_channels(source), inpaint_channels(source, hole)]
    channels = torch.stack([kinds[row % 3][row] for row in range(rows)])
    condition = prompts(rows, dtype=torch.float64)._replace(task_channels=channels)
    return LatentBatch(latents(rows), condition, tuple(range(first_id, first_id + rows)))


def empty_prompt() -> Condition:
    return prompts(1, seed=5, dtype=torch.float64)


def test_tasks_are_read_from_their_channels() -> None:
    assert task_of(batch().prompt).tolist() == [GENERATE, EDIT, INPAINT] * 3
    assert task_of(prompts(2)).tolist() == [GENERATE] * 2


def test_the_loss_is_its_equation() -> None:
    rows = batch()
    drawn = draw(rows, FlowNoiseConfig(), dropout=NOTHING_DROPPED, seed=0)
    denoiser = LinearDenoiser()
    terms = flow_matching_loss(denoiser, rows, drawn=drawn, empty_prompt=empty_prompt())
    level = drawn.sigma[:, None, None, None]
    x_sigma = (1 - level) * rows.latents + level * drawn.noise
    error = denoiser(x_sigma, drawn.sigma, *rows.prompt) - (drawn.noise - rows.latents)
    torch.testing.assert_close(terms.rows, error.square().mean((1, 2, 3)).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(terms.loss, terms.rows.mean(), rtol=0, atol=1e-12)
    assert drawn.sigma.dtype == drawn.noise.dtype == torch.float64


def test_the_gradient_reaches_the_denoiser_and_is_right() -> None:
    rows, denoiser = batch(), LinearDenoiser()
    drawn = draw(rows, FlowNoiseConfig(), dropout=DropoutConfig(text=0.3, image=0.3, both=0.3), seed=0)

    def loss(weight: float) -> Tensor:
        with torch.no_grad():
            denoiser.weight.fill_(weight)
        return flow_matching_loss(denoiser, rows, drawn=drawn, empty_prompt=empty_prompt()).loss

    numeric = (loss(0.7 + 1e-6) - loss(0.7 - 1e-6)) / 2e-6
    loss(0.7).backward()
    torch.testing.assert_close(denoiser.weight.grad, numeric.detach(), rtol=1e-7, atol=0)


def test_a_perfect_network_has_no_loss() -> None:
    rows = batch()
    drawn = draw(rows, FlowNoiseConfig(), dropout=NOTHING_DROPPED, seed=0)
    terms = flow_matching_loss(lambda *_: drawn.noise - rows.latents, rows, drawn=drawn, empty_prompt=empty_prompt())
    assert terms.loss == 0


def test_what_is_drawn_belongs_to_the_sample() -> None:
    whole = draw(batch(9), FlowNoiseConfig(), dropout=DropoutConfig(text=0.3, image=0.3, both=0.3), seed=3)
    part = LatentBatch(batch(9).latents[3:6], batch(9).prompt.rows(slice(3, 6)), (3, 4, 5))
    alone = draw(part, FlowNoiseConfig(), dropout=DropoutConfig(text=0.3, image=0.3, both=0.3), seed=3)
    for ours, theirs in zip(vars(alone).values(), vars(whole).values(), strict=True):
        assert torch.equal(ours, theirs[3:6])
    other = draw(part, FlowNoiseConfig(), dropout=NOTHING_DROPPED, seed=4)
    assert not torch.equal(other.noise, alone.noise)


def test_levels_are_logit_normal_and_shifted() -> None:
    rows = LatentBatch(torch.zeros(4000, 1, 1, 1, dtype=torch.float64), prompts(4000), tuple(range(4000)))
    for config in (FlowNoiseConfig(), FlowNoiseConfig(mean=0.5, std=0.6, shift=3.0)):
        sigma = draw(rows, config, dropout=NOTHING_DROPPED, seed=0).sigma
        unshifted = sigma / (config.shift - (config.shift - 1) * sigma)
        logits = torch.logit(unshifted)
        assert float(logits.mean()) == pytest.approx(config.mean, abs=0.05)
        assert float(logits.std()) == pytest.approx(config.std, abs=0.03)


def test_shares_that_lose_something_are_disjoint_and_inpainting_keeps_its_picture() -> None:
    count, dropout = 6000, DropoutConfig(text=0.1, image=0.2, both=0.05)
    rows = batch(count)
    drawn = draw(rows, FlowNoiseConfig(), dropout=dropout, seed=0)
    tasks = task_of(rows.prompt)
    assert not drawn.without_source[tasks == INPAINT].any()
    edits = tasks == EDIT
    text, source = drawn.without_text[edits], drawn.without_source[edits]
    for found, share in ((text & ~source, 0.1), (source & ~text, 0.2), (text & source, 0.05)):
        assert float(found.double().mean()) == pytest.approx(share, abs=0.025)
    kept = drawn.without_text[tasks == INPAINT].double().mean()
    assert float(kept) == pytest.approx(0.15, abs=0.025)


def test_what_is_left_out_becomes_empty_text_and_generation() -> None:
    rows = batch(6)
    yes = torch.tensor([True, True, True, False, False, False])
    drawn = Draw(torch.ones(6), rows.latents, without_text=yes, without_source=~yes)
    left = leave_out(rows.prompt, drawn, empty_prompt=empty_prompt())
    assert torch.equal(left.prompt_embeds[:3], empty_prompt().prompt_embeds.expand(3, -1, -1))
    assert torch.equal(left.pooled_prompt_embeds[3:], rows.prompt.pooled_prompt_embeds[3:])
    assert torch.equal(left.task_channels[:3], rows.prompt.task_channels[:3])
    assert task_of(left).tolist() == [GENERATE, EDIT, INPAINT, GENERATE, GENERATE, GENERATE]
    plain = leave_out(prompts(6, dtype=torch.float64), drawn, empty_prompt=empty_prompt())
    assert plain.task_channels is None
