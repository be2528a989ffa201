"""Noise levels: which the student is trained at, at which the judge looks, which the sampler visits.

Training, evaluation, export and serving must agree on them, so all of them come here.

Shape legend: b batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.config import NoiseConfig


def student_levels(config: NoiseConfig, uniform: Tensor, *, step: int) -> Tensor:
    """The student's input level for each uniform number in [0, 1): (b,) -> (b,). LADD, section 3.

    Inverse of the cumulative distribution; the first ``config.warmup_steps`` steps have their own.
    """
    chances = config.warmup_probabilities if step < config.warmup_steps else config.probabilities
    cumulative = torch.tensor(chances, dtype=torch.float64, device=uniform.device).cumsum(0)
    # The last edge is left out: rounding may put it below the largest uniform number.
    index = torch.searchsorted(cumulative[:-1], uniform.double(), right=True)
    return torch.tensor(config.levels, dtype=uniform.dtype, device=uniform.device)[index]


def renoise_levels(config: NoiseConfig, gaussian: Tensor) -> Tensor:
    """The judge's level for each standard normal number, logit-normal: (b,) -> (b,). LADD, section 3."""
    return flow.logit_normal(gaussian, mean=config.renoise_mean, std=config.renoise_std)


def sampling_levels(levels: Sequence[float], num_steps: int) -> tuple[float, ...]:
    """The trained levels that a sampler of ``num_steps`` visits, evenly strided, without the final 0.

    (1, .75, .5, .25) gives (1,) for one step and all for four [paper], (1, .5) for two [ours].

    Raises:
        ValueError: More steps than levels, or none.
    """
    if not 1 <= num_steps <= len(levels):
        raise ValueError(
            f"{num_steps} steps cannot be: use 1 to {len(levels)}, since the student knows {tuple(levels)}"
        )
    return tuple(levels[index * len(levels) // num_steps] for index in range(num_steps))
