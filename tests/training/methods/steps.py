"""What the tests of a method's step share: a batch made by hand, and the gradients that a turn leaves."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Condition, LatentBatch, TrainableNetwork, Update
from ladd_ray.training.methods.ladd import LaddMethod, build_ladd
from tests.training.runs import STEPS


def build(config: Config, **changes: object) -> LaddMethod:
    """Fresh networks of the real classes; ``changes`` write a dot as two underscores."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return build_ladd(override(config, dotted), LocalEngine("cpu", total_steps=STEPS))


def batch_for(method: LaddMethod, *, rows: int = 4, first_id: int = 0) -> LatentBatch:
    """Random latents with random prompts."""
    generator = torch.Generator().manual_seed(first_id)
    student = method.student.module

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator)

    prompt = Condition(gaussian(12, student.prompt_size), gaussian(student.pooled_size))
    return LatentBatch(gaussian(16, 8, 8), prompt, tuple(range(first_id, first_id + rows)))


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


def watch(monkeypatch: pytest.MonkeyPatch, method: LaddMethod) -> Mapping[str, dict[str, dict[str, Tensor]]]:
    """Backward without a step: filled with what each turn leaves in each network, turn by turn."""
    left: dict[str, dict[str, dict[str, Tensor]]] = {}
    players = {"student": method.student.module, "heads": method.heads.module, "teacher": method.features}

    def watch_one(turn: str, network: TrainableNetwork) -> None:
        def update(loss: Tensor) -> Update:
            loss.backward()
            left[turn] = {
                name: {key: gradient.clone() for key, gradient in gradients(module).items()}
                for name, module in players.items()
            }
            for module in players.values():
                module.zero_grad()
            return Update(stepped=True, gradient_norm=0.0, lr=0.0)

        monkeypatch.setattr(network, "update", update)

    for turn, network in method.trainable.items():
        watch_one(turn, network)
    return left
