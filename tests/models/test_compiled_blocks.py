"""Compiled blocks draw the same, and need not be compiled again for other sizes and batches.

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from ladd_ray.models.sd3 import SD3Denoiser
from tests.models.test_sd3 import make_transformer


@pytest.fixture(autouse=True)
def _nothing_is_compiled_yet() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@torch.no_grad()
def drawn(denoiser: SD3Denoiser, *, rows: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    shapes = ((16, height, width), (7, 12), (20,))
    latents, prompt, pooled = (torch.randn(rows, *shape, generator=generator) for shape in shapes)
    return denoiser(latents, torch.full((rows,), 0.5), prompt, pooled)


def test_what_was_warmed_up_serves_every_size_and_batch() -> None:
    counter = CompileCounterWithBackend("eager")
    plain, compiled = (SD3Denoiser(make_transformer(qk_norm="rms_norm")).eval() for _ in range(2))
    compiled.compile_blocks(backend=counter)
    asks = [(3, 8, 12), (1, 8, 12), (5, 8, 12), (2, 6, 10), (1, 10, 6), (8, 12, 4)]
    found = [drawn(compiled, rows=rows, height=height, width=width) for rows, height, width in asks[:2]]
    warm = counter.frame_count
    assert warm > 0
    found += [drawn(compiled, rows=rows, height=height, width=width) for rows, height, width in asks[2:]]
    assert counter.frame_count == warm
    for (rows, height, width), velocity in zip(asks, found, strict=True):
        assert torch.allclose(velocity, drawn(plain, rows=rows, height=height, width=width), atol=1e-5)
