"""The configuration of a run: one tree of frozen models, checked whole before anything starts.

``recipes.py`` returns ready trees; the command line, Ray Tune and tests change them by dotted names through
``override``. Every message says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self, TypeVar

from pydantic import model_validator

from ladd_ray.baseline_sections import AddConfig, LcmConfig
from ladd_ray.data_sections import DataConfig
from ladd_ray.method_sections import DiscriminatorConfig, DistillationConfig, HealthConfig, LoraConfig
from ladd_ray.sections import (
    EvaluationConfig,
    MilestoneConfig,
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
    "AddConfig",
    "Config",
    "DataConfig",
    "DiscriminatorConfig",
    "DistillationConfig",
    "EvaluationConfig",
    "HealthConfig",
    "JobConfig",
    "LcmConfig",
    "LoraConfig",
    "MilestoneConfig",
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

UNREAD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ladd": (),
        "add": (
            "lora", "discriminator.tapped_blocks", "discriminator.condition_on_sigma",
            "discriminator.misaligned_weight", "discriminator.steps_per_student_step", "discriminator.reuse",
        ),
        "lcm": (
            "lora", "distillation", "discriminator.tapped_blocks", "discriminator.r1",
            "discriminator.misaligned_weight", "discriminator.steps_per_student_step", "discriminator.reuse",
        ),
    }
)  # fmt: skip
"""Sections and settings that a method would pass over in silence. Sizes and rates of heads are not among them, so that
a recipe can be run by another method, and neither are the methods' own sections, which say whose they are."""


class JobConfig(Protocol):
    """What the configurations of all training jobs share: where, how long, on what, and who is told."""

    @property
    def recipe(self) -> str: ...

    @property
    def run(self) -> RunConfig: ...

    @property
    def tracking(self) -> TrackingConfig: ...

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...

    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...


class Config(Section):
    """A whole distillation."""

    recipe: str = "stickers"
    """The recipe this configuration began as."""
    method: Literal["ladd", "add", "lcm"] = "ladd"
    """How the student learns: LADD, or one of the methods that it is compared with."""
    teacher: TeacherConfig = TeacherConfig()
    noise: NoiseConfig = NoiseConfig()
    student: StudentConfig = StudentConfig()
    lora: LoraConfig = LoraConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    distillation: DistillationConfig = DistillationConfig()
    add: AddConfig = AddConfig()
    lcm: LcmConfig = LcmConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    milestones: MilestoneConfig = MilestoneConfig()
    tracking: TrackingConfig = TrackingConfig()
    health: HealthConfig = HealthConfig()
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
        has_heads = self.method != "lcm"
        if has_heads and self.discriminator.loss == "hinge" and self.micro_batch_size < 2:
            raise ValueError(
                "a micro batch of 1 with the hinge loss lets the judge win and kills the student: raise "
                "run.global_batch_size to at least 2 per worker and micro batch, or set discriminator.loss = softplus"
            )
        return self

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        changed = [name for name in UNREAD[self.method] if _is_changed(self, name)]
        if changed:
            raise ValueError(
                f"method = {self.method} does not read {', '.join(changed)}: leave them at their defaults, or choose "
                "another method"
            )
        if self.method == "add" and self.discriminator.r1 == "approximate":
            raise ValueError("discriminator.r1 = approximate moves noised latents, and ADD judges pictures: use exact")
        if self.method == "lcm":
            self.lcm.require_levels(self.noise.levels)
        return self

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.discriminator.misaligned_weight and self.micro_batch_size < 2:
            raise ValueError(
                "discriminator.misaligned_weight needs a neighbour in the micro batch: raise run.global_batch_size to "
                "at least 2 per worker and micro batch, or set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _check_turns(self) -> Self:
        every = self.discriminator.steps_per_student_step
        if every > self.run.steps:
            raise ValueError(
                f"discriminator.steps_per_student_step = {every} gives the student no turn in {self.run.steps} steps: "
                "lower it, or raise run.steps"
            )
        return self

    @model_validator(mode="after")
    def _check_adapters(self) -> Self:
        if not self.lora.rank:
            return self
        if self.student.precision != self.teacher.precision:
            raise ValueError(
                f"lora.rank = {self.lora.rank} shares the teacher's weights: set student.precision to "
                f"teacher.precision, {self.teacher.precision}"
            )
        if self.student.zero_stage == 3 or self.teacher.sharded:
            raise ValueError(
                "lora.rank shares whole weights between student and teacher: set student.zero_stage to 2 or less and "
                "teacher.sharded to false"
            )
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.run.engine == "local" and self.teacher.sharded:
            raise ValueError("teacher.sharded needs run.engine = deepspeed")
        return self

    @model_validator(mode="after")
    def _check_knobs(self) -> Self:
        if not self.student.guidance_knobs or self.method == "lcm":
            return self
        if self.data.origin == "real" or not (self.data.guidance_range or self.data.image_guidance_range):
            raise ValueError(
                "student.guidance_knobs learns from rows that a teacher drew at many strengths: set data.origin = "
                "synthetic and data.guidance_range, such as (1.5, 6)"
            )
        if not self.discriminator.condition_on_prompt:
            raise ValueError(
                "student.guidance_knobs needs heads that know the strengths: set discriminator.condition_on_prompt"
            )
        guided, holes = self.distillation.guidance_scale != 1, self.data.tasks.inpaint > 0
        if self.distillation.image_guidance_scale != 1 or (guided and not holes):
            raise ValueError(
                "with student.guidance_knobs every drawn row is distilled at the guidance that it was drawn with: "
                "leave distillation.image_guidance_scale at 1, and distillation.guidance_scale too unless there are "
                "real rows (data.tasks.inpaint above 0)"
            )
        return self

    @model_validator(mode="after")
    def _check_distillation(self) -> Self:
        loss = self.distillation
        has_real = self.data.origin == "real" or self.data.tasks.inpaint > 0
        if loss.weight and loss.rows == "real" and not has_real:
            raise ValueError(
                "distillation.rows = real and no row of the training set is: set it to all, data.origin to real, or "
                "data.tasks.inpaint above 0"
            )
        if loss.edit_target == "latents" and not (loss.weight and self.data.tasks.edit):
            raise ValueError(
                "distillation.edit_target = latents needs this loss and edits: set distillation.weight and "
                "data.tasks.edit above 0"
            )
        return self

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        drawn_ahead = self.data.feed == "stored" and not self.data.reads_files
        if drawn_ahead and self.data.num_latents < self.run.global_batch_size:
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
        if self.milestones.every and self.milestones.num_inference_steps > trained:
            raise ValueError(
                f"milestones.num_inference_steps = {self.milestones.num_inference_steps} must not exceed {trained}, "
                "the number of trained noise levels"
            )
        return self


def _is_changed(config: Config, name: str) -> bool:
    """Whether a section, or a setting of one, is not as it is by default."""
    section, _, setting = name.partition(".")
    ours = getattr(config, section)
    default = type(ours)()
    return bool(getattr(ours, setting) != getattr(default, setting)) if setting else bool(ours != default)


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
