"""Rows of a batch do not see their neighbours: not even in the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ladd_ray.models import independent_rows
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.independent_rows import PaddedLinear, make_rows_independent, rows_agree
from ladd_ray.models.prompt_encoder import PromptEncoder
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


def test_pictures_and_prompts_are_the_same_alone_and_in_any_batch(tiny_folder: Path) -> None:
    autoencoder = Autoencoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    encoder = PromptEncoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    autoencoder.make_rows_independent()
    encoder.make_rows_independent()
    generator = torch.Generator().manual_seed(2)
    for height, width in ((8, 8), (4, 10)):
        latents = torch.randn(17, 16, height, width, generator=generator)
        images = torch.randn(17, 3, 8 * height, 8 * width, generator=generator)
        for code, batch in ((autoencoder.decode, latents), (autoencoder.encode, images)):
            together = code(batch)
            assert all(torch.equal(code(batch[-count:]), together[-count:]) for count in (1, 2, 3, 7, 16))
    prompts = ["a red apple", "two blue cat", "a dog"]
    together = encoder.encode(prompts)
    for row, prompt in enumerate(prompts):
        alone = encoder.encode([prompt])
        assert torch.equal(alone.prompt_embeds[0], together.prompt_embeds[row])
        assert torch.equal(alone.pooled_prompt_embeds[0], together.pooled_prompt_embeds[row])


@pytest.mark.parametrize(
    ("layer", "batch"), [(nn.Linear(24, 40), torch.randn(9, 5, 24)), (nn.Conv2d(3, 5, 3), torch.randn(9, 3, 6, 6))]
)
def test_where_rows_do_not_agree_they_are_taken_one_by_one(
    layer: nn.Module, batch: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, expected = nn.Sequential(layer), layer(batch)
    monkeypatch.setattr(independent_rows, "rows_agree", lambda _: False)
    make_rows_independent(network)
    assert type(network[0]).__name__.startswith("Row")
    assert torch.allclose(network(batch), expected, atol=1e-5)
    assert torch.equal(network(batch[3:4]), network(batch)[3:4])


def test_rows_that_only_differ_in_large_products_are_found_out() -> None:
    class Blocked(PaddedLinear):
        def forward(self, hidden: Tensor) -> Tensor:
            return super().forward(hidden) + (len(hidden) > 512)

    assert rows_agree(PaddedLinear(8, 8))
    assert not rows_agree(Blocked(8, 8))
