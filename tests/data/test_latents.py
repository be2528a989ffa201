"""What is no picture is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ladd_ray.data.latents import neighbour_correlation, require_pictures


def pictures(count: int = 6) -> Tensor:
    coarse = torch.randn(count, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    return interpolate(coarse, size=(8, 8), mode="bilinear")


def test_pictures_pass_and_noise_does_not() -> None:
    require_pictures(pictures(), source="here")
    noise = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="here holds noise, not pictures"):
        require_pictures(noise, source="here")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_refused(value: float) -> None:
    latents = pictures()
    latents[2, 1, 3, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        require_pictures(latents, source="here")


def test_a_constant_is_no_picture() -> None:
    with pytest.raises(ValueError, match="holds noise, not pictures"):
        require_pictures(torch.ones(4, 4, 8, 8), source="here")


def test_correlation_of_an_autoregressive_line() -> None:
    """Of x[k + 1] = 0.8 x[k] + 0.6 noise it is 0.8; a constant offset of a channel does not count."""
    noise = torch.randn(64, 2, 16, 64, generator=torch.Generator().manual_seed(0))
    line = noise.clone()
    for place in range(1, line.shape[-1]):
        line[..., place] = 0.8 * line[..., place - 1] + 0.6 * noise[..., place]
    line[:, 1] += 5
    assert neighbour_correlation(line) == pytest.approx(0.8, abs=0.02)
    assert neighbour_correlation(noise) == pytest.approx(0.0, abs=0.02)
