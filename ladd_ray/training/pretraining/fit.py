"""One loop for all stages: seeded by the step, so that a resumed stage equals an unbroken one."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from ladd_ray.training.pretraining.settings import StageSettings

Trained = TypeVar("Trained", bound=nn.Module)
Loss = Callable[[], tuple[Tensor, dict[str, float]]]


def fit(
    module: Trained,
    loss: Loss,
    *,
    name: str,
    settings: StageSettings,
    directory: Path,
    seed: int,
    checkpoint_every_s: float,
) -> Trained:
    """Train ``module`` and return its moving average, in evaluation mode.

    ``loss`` draws its own batch from torch's global generator, which is seeded anew at every step.

    Raises:
        FloatingPointError: the loss is not finite; the last checkpoint is untouched.
        ValueError: the stage was begun with another optimizer.
    """
    optimizers = _optimizers(module, settings)
    average = copy.deepcopy(module).requires_grad_(False)
    path = directory / f"{name}.pt"
    first_step = _restore(path, module, average, optimizers)
    saved_at = time.monotonic()
    progress = trange(first_step, settings.steps, desc=name, initial=first_step, total=settings.steps, mininterval=5)
    for step in progress:
        torch.manual_seed(seed * 1_000_003 + step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * _lr_factor(step, settings)
        value, metrics = loss()
        if not torch.isfinite(value):
            raise FloatingPointError(f"{name}: loss is {value.item()} at step {step}; lower {name}.lr")
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        _update_average(average, module, decay=min(settings.ema_decay, (1 + step) / (10 + step)))
        if step % 20 == 0:
            metrics = {"loss": value.item(), **metrics}
            progress.set_postfix({key: f"{number:.4f}" for key, number in metrics.items()}, refresh=False)
            _append(directory / f"{name}.jsonl", {"step": step, "time": time.time(), **metrics})
        if time.monotonic() - saved_at > checkpoint_every_s or step + 1 == settings.steps:
            _save(path, step + 1, module, average, optimizers)
            saved_at = time.monotonic()
    return average.eval()


def _optimizers(module: nn.Module, settings: StageSettings) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon (Jordan et al. 2024) for the matrices inside numbered blocks beside it."""
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    matrices = {
        name: weight
        for name, weight in weights.items()
        if settings.optimizer == "muon" and weight.ndim == 2 and "blocks." in name
    }
    others = [weight for name, weight in weights.items() if name not in matrices]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=settings.lr, betas=(0.9, 0.99), weight_decay=0.0)
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(list(matrices.values()), lr=settings.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        )
    return optimizers


def _lr_factor(step: int, settings: StageSettings) -> float:
    warmup = min(1.0, (step + 1) / max(settings.lr_warmup_steps, 1))
    return warmup * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


@torch.no_grad()
def _update_average(average: nn.Module, module: nn.Module, *, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)


def _save(
    path: Path, step: int, module: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    state = {
        "step": step,
        "module": module.state_dict(),
        "average": average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(path: Path, module: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if len(state.get("optimizers", ())) != len(optimizers):
        raise ValueError(f"{path} was trained with another optimizer: choose another directory, or remove that file")
    module.load_state_dict(state["module"])
    average.load_state_dict(state["average"])
    for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(stored)
    return int(state["step"])


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
