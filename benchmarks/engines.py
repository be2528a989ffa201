"""Does every engine train alike? A few LADD steps in bf16 under ZeRO 0-3, against those of the local engine.

All cases run in this one process, a group of one: NCCL refuses two ranks on one GPU. The hooks that gather
and scatter shards run all the same; what communication costs does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product

import torch
from torch import Tensor

from benchmarks.sections import Case, Row, SkippedError
from benchmarks.workload import (
    Clock,
    MakeTransformer,
    build_networks,
    ladd_step,
    random_batch,
)
from ladd_ray.config import (
    Config,
    DiscriminatorConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
    ZeroStage,
)
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Engine

ZERO_STAGES: tuple[ZeroStage, ...] = (0, 1, 2, 3)
LOSS_TOLERANCE = 0.01
"""Largest difference of a loss, about ten times what bf16 rounding makes of it within the steps."""
UPDATE_TOLERANCE = 0.05
"""How far the length of the student's way through weight space may be from the local engine's, as a share."""

Losses = list[Mapping[str, float]]


@dataclass(frozen=True)
class Training:
    """What a few steps did."""

    losses: Losses
    """One mapping for each step."""
    update_norm: float
    """L2 norm of the change of the student's weights."""

    @property
    def movement(self) -> float:
        """Largest change of a loss since the first step."""
        return largest_difference(self.losses, self.losses[:1] * len(self.losses))


@dataclass(frozen=True)
class EngineTable:
    """All combinations of the student's and the heads' ZeRO stage with a replicated or sharded teacher."""

    make_transformer: MakeTransformer
    device: torch.device
    pixels: int
    text_tokens: int
    steps: int = 5
    micro_batch_size: int = 4

    def cases(self) -> list[Case]:
        """One case for each combination."""
        combinations = product(ZERO_STAGES, (False, True))
        return [
            Case(f"ZeRO-{stage}, teacher {_placement(sharded)}", partial(self._compare, stage, sharded=sharded))
            for stage, sharded in combinations
        ]

    @cached_property
    def reference(self) -> Training:
        """The same steps on the local engine."""
        return self._train(LocalEngine(self.device, total_steps=self.steps), _config(zero_stage=0))

    def _compare(self, stage: ZeroStage, *, sharded: bool) -> Row:
        engine = self._zero_engine()
        config = _config(zero_stage=stage, sharded=sharded, engine="deepspeed")
        training, reference = self._train(engine, config), self.reference
        difference = largest_difference(training.losses, reference.losses)
        update_ratio = training.update_norm / reference.update_norm
        return {
            "student and heads": f"ZeRO-{stage}",
            "teacher": _placement(sharded),
            "loss difference": difference,
            "loss movement": reference.movement,
            "update ratio": update_ratio,
            # Losses that stand still would agree whatever the engine did.
            "agrees": difference <= LOSS_TOLERANCE < reference.movement and abs(update_ratio - 1) <= UPDATE_TOLERANCE,
        }

    def _zero_engine(self) -> Engine:
        try:
            from ladd_ray.engine.zero import ZeroEngine
        except ImportError as error:
            raise SkippedError(f"DeepSpeed cannot be imported: {error}") from error
        return ZeroEngine(total_steps=self.steps, micro_batch_size=self.micro_batch_size)

    def _train(self, engine: Engine, config: Config) -> Training:
        networks = build_networks(self.make_transformer, config, engine)
        batch = random_batch(
            networks,
            micro_batch_size=self.micro_batch_size,
            pixels=self.pixels,
            text_tokens=self.text_tokens,
            device=self.device,
        )
        before = networks.student.full_state_dict()
        # The same samples and noise at every step: the losses then move by learning alone.
        losses = [
            ladd_step(networks, batch, config=config, step=0, clock=Clock(self.device)) for _ in range(self.steps)
        ]
        return Training(losses, distance(networks.student.full_state_dict(), before))


def largest_difference(losses: Losses, others: Losses) -> float:
    """Over all steps and all losses."""
    pairs = zip(losses, others, strict=True)
    return max(abs(one[name] - other[name]) for one, other in pairs for name in one)


def distance(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """L2 norm of the difference of two networks."""
    changes = [(weights[name].double() - others[name].double()).square().sum() for name in weights]
    return torch.stack(changes).sum().sqrt().item()


def _config(*, zero_stage: ZeroStage, sharded: bool = False, engine: str = "local") -> Config:
    return Config.model_validate(
        {
            "teacher": TeacherConfig(precision="bf16", sharded=sharded),
            "student": StudentConfig(lr=3e-5, zero_stage=zero_stage, precision="bf16", ema_decay=0.0),
            "discriminator": DiscriminatorConfig(lr=1e-4, zero_stage=zero_stage, width=64),
            "run": RunConfig.model_validate({"num_workers": 1, "engine": engine}),
        }
    )


def _placement(sharded: bool) -> str:
    return "sharded" if sharded else "replicated"
