"""The configuration of a run: one tree of frozen models, checked whole before anything starts.

``recipes.py`` returns ready trees; the command line, Ray Tune and tests change them by dotted names through
``override``. Every message says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from pydantic import model_validator

from ladd_ray.sections import (
    DataConfig,
    DiscriminatorConfig,
    EvaluationConfig,
    NoiseConfig,
    OptimizerConfig,
    Precision,
    RunConfig,
    Section,
    StudentConfig,
    TeacherConfig,
    TrackingConfig,
    ZeroStage,
)

__all__ = [
    "Config",
    "DataConfig",
    "DiscriminatorConfig",
    "EvaluationConfig",
    "JobConfig",
    "NoiseConfig",
    "OptimizerConfig",
    "Precision",
    "RunConfig",
    "Section",
    "StudentConfig",
    "TeacherConfig",
    "TrackingConfig",
    "ZeroStage",
    "override",
    "to_json",
]


Tree = TypeVar("Tree", bound=Section)


class JobConfig(Protocol):
    """What the configurations of all training jobs share: where, how long, on what, and who is told."""

    @property
    def recipe(self) -> str: ...

    @property
    def run(self) -> RunConfig: ...

    @property
    def tracking(self) -> TrackingConfig: ...

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...


class Config(Section):
    """A whole distillation."""

    recipe: str = "stickers"
    """The recipe this configuration began as."""
    teacher: TeacherConfig = TeacherConfig()
    noise: NoiseConfig = NoiseConfig()
    student: StudentConfig = StudentConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    run: RunConfig = RunConfig()

    @property
    def micro_batch_size(self) -> int:
        """Samples per worker and forward."""
        return self.run.micro_batch_size

    @property
    def run_directory(self) -> Path:
        """Absolute folder of this run."""
        return self.run.path

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        if self.discriminator.loss == "hinge" and self.micro_batch_size < 2:
            raise ValueError(
                "a micro batch of 1 with the hinge loss lets the judge win and kills the student: raise "
                "run.global_batch_size to at least 2 per worker and micro batch, or set discriminator.loss = softplus"
            )
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.run.engine == "local" and self.teacher.sharded:
            raise ValueError("teacher.sharded needs run.engine = deepspeed")
        return self

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        if self.data.guidance_scale <= 1 and not self.data.allow_unguided:
            raise ValueError(
                f"data.guidance_scale = {self.data.guidance_scale} makes latents without guidance: "
                "use 3 to 5, or set data.allow_unguided if you mean it"
            )
        if self.data.num_latents < self.run.global_batch_size:
            raise ValueError(
                f"data.num_latents = {self.data.num_latents} does not fill one global batch of "
                f"{self.run.global_batch_size}: draw more latents or make the batch smaller"
            )
        return self

    @model_validator(mode="after")
    def _check_evaluation(self) -> Self:
        steps, trained = self.evaluation.student_steps, len(self.noise.levels)
        if not steps or max(steps) > trained or min(steps) < 1:
            raise ValueError(
                f"evaluation.student_steps = {steps} must lie in 1..{trained}, the number of trained noise levels"
            )
        return self


def override(config: Tree, changes: Mapping[str, Any]) -> Tree:
    """A copy of ``config`` with dotted names changed, e.g. ``{"student.lr": 1e-4}``; checked like a new one.

    Raises:
        ValueError: a name that does not exist (with the names that do), or a value that cannot be.
    """
    tree = config.model_dump()
    for name, value in changes.items():
        section: Any = tree
        *parents, leaf = name.split(".")
        for part in parents:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or leaf not in section:
            known = ", ".join(sorted(section)) if isinstance(section, dict) else ", ".join(sorted(tree))
            raise ValueError(f"unknown setting {name!r}; known here: {known}")
        section[leaf] = value
    return type(config).model_validate(tree)


def to_json(config: Section) -> str:
    """Stable, readable JSON of the whole tree."""
    return json.dumps(config.model_dump(mode="json"), indent=2)
