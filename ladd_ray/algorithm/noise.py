"""Noise that belongs to a sample, not to a process.

Every row is drawn from its own generator, seeded by (seed, purpose, sample id). So it does not depend on the
other samples of the batch, on the rank, on the micro batch size or on how often a run was restarted. [ours]

Shape legend: b samples; a row has any shape.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_DTYPE = torch.float32
"""Said everywhere: torch's default is another one while somebody loads a model of half precision."""


def gaussian(shape: Sequence[int], *, seed: int, purpose: str, sample_ids: Sequence[int]) -> Tensor:
    """Standard normal rows (b, *shape), float32 on the CPU; ``shape`` is that of one row, () for a scalar."""
    row_shape = tuple(shape)
    generators = [_generator(seed, purpose, row) for row in sample_ids]
    return torch.stack([torch.randn(row_shape, generator=each, dtype=_DTYPE) for each in generators])


def uniform(*, seed: int, purpose: str, sample_ids: Sequence[int]) -> Tensor:
    """One number in [0, 1) for each sample (b,), float32 on the CPU."""
    generators = [_generator(seed, purpose, row) for row in sample_ids]
    return torch.stack([torch.rand((), generator=each, dtype=_DTYPE) for each in generators])


def per_step(
    shape: Sequence[int], *, seed: int, sample_ids: Sequence[int], device: torch.device | str = "cpu"
) -> Callable[[int], Tensor]:
    """The noise source of a sampler: ``noise_for(step)`` gives fresh rows (b, *shape) for steps from 0."""

    def noise_for(step: int) -> Tensor:
        return gaussian(shape, seed=seed, purpose=f"sample/{step}", sample_ids=sample_ids).to(device)

    return noise_for


def _generator(seed: int, purpose: str, sample_id: int) -> torch.Generator:
    # Python's own hash changes between processes. torch's CPU generator keeps 32 bits of a seed: in long runs
    # unrelated samples now and then share their noise, which does no harm.
    digest = hashlib.blake2b(f"{seed}/{purpose}/{sample_id}".encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
