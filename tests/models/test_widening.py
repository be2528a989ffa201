"""A wide transformer starts as the narrow one, and folds back into one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.tasks import edit_channels
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features
from ladd_ray.models.widening import fold_generation, widen
from tests.models.test_sd3 import make_inputs, make_transformer


def randomise_input(transformer: torch.nn.Module) -> None:
    """As after training: the new weights are no longer zero."""
    torch.manual_seed(3)
    torch.nn.init.normal_(transformer.pos_embed.proj.weight, std=0.2)


@torch.no_grad()
def test_the_wide_network_starts_as_the_narrow_one_whatever_the_source() -> None:
    narrow = make_transformer()
    inputs, wide = make_inputs(8, 8), widen(narrow).eval()
    source = edit_channels(torch.randn(2, 16, 8, 8))
    expected = SD3Denoiser(narrow)(*inputs)
    torch.testing.assert_close(SD3Denoiser(wide)(*inputs, source), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(SD3Denoiser(wide)(*inputs), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_folding_keeps_what_the_wide_network_draws_from_a_prompt() -> None:
    wide = widen(make_transformer()).double()
    randomise_input(wide)
    folded = fold_generation(wide)
    assert folded.config.in_channels == 16
    inputs = [tensor.double() for tensor in make_inputs(6, 10)]
    torch.testing.assert_close(SD3Denoiser(folded)(*inputs), SD3Denoiser(wide)(*inputs), rtol=0, atol=1e-12)


@torch.no_grad()
def test_source_and_mask_reach_denoiser_and_judge() -> None:
    wide = widen(make_transformer())
    randomise_input(wide)
    inputs = make_inputs(8, 8)
    first, second = (edit_channels(torch.full((2, 16, 8, 8), value)) for value in (0.0, 1.0))

    def outputs(task: Tensor) -> list[Tensor]:
        return [SD3Denoiser(wide)(*inputs, task), *SD3Features(wide)(*inputs, task)]

    for one, other in zip(outputs(first), outputs(second), strict=True):
        assert (one - other).abs().max() > 1e-3


def test_tasks_need_a_wide_network() -> None:
    with pytest.raises(ValueError, match="only generates"):
        SD3Denoiser(make_transformer())(*make_inputs(8, 8), edit_channels(torch.zeros(2, 16, 8, 8)))
    with pytest.raises(ValueError, match="wide already"):
        widen(widen(make_transformer()))
    with pytest.raises(ValueError, match="nothing to fold"):
        fold_generation(make_transformer())
