"""A toy of the real situation: a student, a frozen teacher whose features judge it, heads on those features.

Shapes: n samples, c input channels, d hidden width. Widths are odd on purpose, so that shards need padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.algorithm.losses import exact_r1
from ladd_ray.config import DiscriminatorConfig, StudentConfig
from ladd_ray.interfaces import Engine, TrainableNetwork, Update

CHANNELS, HIDDEN, BATCH = 5, 7, 8
STUDENT = StudentConfig(lr=3e-3, ema_decay=0.9, gradient_clipping=0.5, lr_warmup_steps=3, lr_schedule="cosine")
HEADS = DiscriminatorConfig(lr=1e-2, weight_decay=0.01, lr_schedule="linear")
TOTAL_STEPS = 12
PENALTY = 0.5
RESIZED = {"pair": (0, 2, 3), "single_last": (0, 1, 3)}
"""ZeRO stages at which two ranks go on from one, and one from two. A conversion takes seconds, so not all."""


class Student(nn.Module):
    """(n, c) -> (n, c)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(CHANNELS, HIDDEN), nn.GELU(), nn.LayerNorm(HIDDEN))
        self.out = nn.Linear(HIDDEN, CHANNELS)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, noise: Tensor) -> Tensor:
        change = self.out(self.layers(noise.to(self.out.bias.dtype)))
        return noise + self.scale * change.to(noise.dtype)


class Teacher(nn.Module):
    """(n, c) -> two features (n, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(CHANNELS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)])

    def forward(self, sample: Tensor) -> list[Tensor]:
        features = []
        for block in self.blocks:
            sample = torch.tanh(block(sample))
            features.append(sample)
        return features


class Heads(nn.Module):
    """Features -> one map of logits (n, 1) for each."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, 1)])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]


@dataclass
class Gan:
    """The three networks in an engine."""

    engine: Engine
    student: TrainableNetwork
    heads: TrainableNetwork
    teacher: nn.Module
    accumulation: int
    penalty: float = 0.0
    """Weight of the exact R1 in the heads' turn."""


@dataclass(frozen=True)
class Losses:
    """Means over ranks and micro batches of one step."""

    heads: float
    student: float


def build(
    engine: Engine,
    *,
    student: StudentConfig = STUDENT,
    heads: DiscriminatorConfig = HEADS,
    sharded_teacher: bool = False,
    accumulation: int = 1,
    penalty: float = 0.0,
) -> Gan:
    """The same weights in every engine."""
    torch.manual_seed(7)
    networks = Student(), Heads(), Teacher()
    return Gan(
        engine,
        engine.prepare(networks[0], student),
        engine.prepare(networks[1], heads),
        engine.freeze(networks[2], sharded=sharded_teacher),
        accumulation,
        penalty,
    )


def batch(step: int, *, rank: int, world_size: int, micro_step: int, accumulation: int) -> tuple[Tensor, Tensor]:
    """This rank's part of the global batch of a step: real samples and noise."""
    generator = torch.Generator().manual_seed(1000 + step)
    real = torch.randn(BATCH, CHANNELS, generator=generator) + 1.0
    noise = torch.randn(BATCH, CHANNELS, generator=generator)
    part = micro_step * world_size + rank
    parts = world_size * accumulation
    return real.chunk(parts)[part], noise.chunk(parts)[part]


def heads_turn(gan: Gan, real: Tensor, noise: Tensor) -> tuple[Tensor, Update]:
    """Hinge loss on features of real and of drawn samples."""
    with torch.no_grad():
        fake = gan.student.module(noise)
        real_features, fake_features = gan.teacher(real), gan.teacher(fake)
    # A forward that is differentiated before the update must not be DeepSpeed's, see training.methods.turns.
    heads = gan.heads.module if gan.penalty else gan.heads
    for feature in real_features:
        feature.requires_grad_(gan.penalty > 0)
    real_logits = heads(real_features)
    real, fake_logits = torch.cat(real_logits), torch.cat(heads(fake_features))
    loss = functional.relu(1 - real).mean() + functional.relu(1 + fake_logits).mean()
    if gan.penalty:
        loss = loss + gan.penalty * exact_r1(real_logits, real_features)
    return loss.detach(), gan.heads.update(loss)


def student_turn(gan: Gan, noise: Tensor) -> tuple[Tensor, Update]:
    """Gradients pass through the frozen heads and the frozen teacher into the student."""
    fake = gan.student(noise)
    with gan.heads.frozen() as judge:
        loss = -torch.cat(judge(gan.teacher(fake))).mean()
    return loss.detach(), gan.student.update(loss)


def train(gan: Gan, steps: range, *, after_turn: Callable[[str, Gan], None] | None = None) -> list[Losses]:
    """Alternates the two turns; ``after_turn`` is told whose turn ended."""
    return [_step(gan, step, after_turn or (lambda turn, gan: None)) for step in steps]


def _step(gan: Gan, step: int, after_turn: Callable[[str, Gan], None]) -> Losses:
    sums = torch.zeros(2, dtype=torch.float64)
    for micro_step in range(gan.accumulation):
        real, noise = batch(
            step,
            rank=gan.engine.rank,
            world_size=gan.engine.world_size,
            micro_step=micro_step,
            accumulation=gan.accumulation,
        )
        heads_loss, heads_update = heads_turn(gan, real, noise)
        after_turn("heads", gan)
        student_loss, student_update = student_turn(gan, noise)
        after_turn("student", gan)
        assert heads_update.stepped == student_update.stepped == (micro_step == gan.accumulation - 1)
        sums += torch.stack([heads_loss.double(), student_loss.double()]) / gan.accumulation
    means = gan.engine.mean({"heads": sums[0].item(), "student": sums[1].item()})
    return Losses(**means)
