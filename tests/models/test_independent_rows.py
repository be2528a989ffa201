"""Rows of a batch do not see their neighbours: not even in the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ladd_ray.models.folder import load_transformer
from ladd_ray.models.independent_rows import make_rows_independent
from ladd_ray.models.sd3 import SD3Denoiser

ROWS = 6


@pytest.fixture
def denoiser(tiny_folder: Path) -> SD3Denoiser:
    generator = torch.Generator().manual_seed(0)
    transformer = load_transformer(tiny_folder, precision="fp32")
    for parameter in transformer.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return SD3Denoiser(transformer).requires_grad_(False).eval()


def inputs(denoiser: SD3Denoiser, *, height: int = 8, width: int = 8) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(ROWS, *shape, generator=generator)

    sigma = torch.linspace(0.1, 1.0, ROWS)
    return gaussian(16, height, width), sigma, gaussian(13, denoiser.prompt_size), gaussian(denoiser.pooled_size)


def test_the_plain_network_is_not_bit_exact_which_is_why_this_exists(denoiser: SD3Denoiser) -> None:
    batch = inputs(denoiser)
    together = denoiser(*batch)
    alone = torch.cat([denoiser(*(tensor[row : row + 1] for tensor in batch)) for row in range(ROWS)])
    assert not torch.equal(together, alone)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 10)])
def test_every_row_is_the_same_alone_and_in_any_batch(denoiser: SD3Denoiser, height: int, width: int) -> None:
    make_rows_independent(denoiser)
    batch = inputs(denoiser, height=height, width=width)
    together = denoiser(*batch)
    for count in range(1, ROWS):
        rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(count))[:count]
        assert torch.equal(denoiser(*(tensor[rows] for tensor in batch)), together[rows])


def test_the_network_computes_what_it_computed(denoiser: SD3Denoiser) -> None:
    batch = inputs(denoiser)
    before, weights = denoiser(*batch), dict(denoiser.named_parameters())
    make_rows_independent(denoiser)
    assert torch.allclose(denoiser(*batch), before, atol=1e-4)
    assert all(parameter is weights[name] for name, parameter in denoiser.named_parameters())


def test_subclasses_stay_what_they_are() -> None:
    class Own(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return input

    network = nn.Sequential(Own(3, 3), nn.Linear(3, 2, bias=False))
    make_rows_independent(network)
    assert isinstance(network[0], Own)
    rows = torch.randn(4, 3)
    assert torch.allclose(network(rows), rows @ network[1].weight.T)
