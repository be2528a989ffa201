"""AdamW and its learning-rate schedule, the same for every engine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ladd_ray.config import OptimizerConfig


def adamw(parameters: Iterable[Tensor], settings: OptimizerConfig) -> AdamW:
    """AdamW over those of ``parameters`` that require gradients.

    Raises:
        ValueError: none of them does.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ValueError("no parameter requires a gradient: use freeze() for a network that does not train")
    # torch's fused and foreach paths refuse an integer beside a float.
    betas = float(settings.betas[0]), float(settings.betas[1])
    return AdamW(trainable, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)


def lr_schedule(optimizer: AdamW, settings: OptimizerConfig, *, total_steps: int) -> LambdaLR:
    """The schedule of ``settings`` over ``total_steps`` optimizer steps."""
    return LambdaLR(optimizer, partial(lr_factor, settings=settings, total_steps=total_steps))


def lr_factor(step: int, *, settings: OptimizerConfig, total_steps: int) -> float:
    """Share of the peak learning rate at ``step``, counted from 0.

    The warm-up reaches 1 in its last step; cosine and linear reach 0 when ``total_steps`` steps are done.
    """
    warmup = settings.lr_warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
    if settings.lr_schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress))
