"""AdamW and its schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ladd_ray.config import OptimizerConfig
from ladd_ray.engine.optim import adamw, lr_factor, lr_schedule


def factors(total_steps: int, **settings: object) -> list[float]:
    config = OptimizerConfig.model_validate(settings)
    return [lr_factor(step, settings=config, total_steps=total_steps) for step in range(total_steps + 1)]


def test_warm_up_rises_in_equal_parts_to_the_peak() -> None:
    assert factors(6, lr_warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_falling_schedules_end_at_zero(name: str) -> None:
    shares = factors(10, lr_warmup_steps=2, lr_schedule=name)
    assert shares[2] == 1.0
    assert shares[6] == pytest.approx(0.5)
    assert shares[10] == pytest.approx(0.0)
    assert sorted(shares[2:], reverse=True) == shares[2:]


def test_a_warm_up_as_long_as_the_run_is_allowed() -> None:
    assert factors(2, lr_warmup_steps=2, lr_schedule="linear") == [0.5, 1.0, 1.0]


def test_the_schedule_drives_the_optimizer() -> None:
    settings = OptimizerConfig(lr=0.1, lr_schedule="linear")
    optimizer = adamw([nn.Parameter(torch.ones(1))], settings)
    schedule = lr_schedule(optimizer, settings, total_steps=4)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_betas_are_floats_even_when_given_as_integers() -> None:
    optimizer = adamw([nn.Parameter(torch.ones(1))], OptimizerConfig.model_construct(lr=0.1, betas=(0, 0.9)))
    assert all(isinstance(beta, float) for beta in optimizer.defaults["betas"])


def test_a_network_without_trainable_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"use freeze\(\)"):
        adamw(nn.Linear(1, 1).requires_grad_(False).parameters(), OptimizerConfig())
