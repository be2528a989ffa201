"""The configuration of a comparison, for ``jobs/compare.py``: which studies, on which seeds, for how long.

A study is a few arms that differ in one thing; an arm is a recipe with changes by dotted names. Every message says what
to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ladd_ray.config import Config, override
from ladd_ray.evaluate_config import EMBEDDED, DiversitySection, WorkSection
from ladd_ray.recipes import RECIPES
from ladd_ray.sections import Section

StudyName = Literal["methods", "data", "distillation", "renoise"]

FREE = ("data.origin", "noise.renoise_mean")
"""Settings of arms that change what is learned, and not what a step costs."""
OF_RUNS = ("run.name", "run.seed", "run.steps", "data.latents")
"""Settings that differ between the runs of a comparison."""


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    label: str
    recipe: str = "stickers"
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def workload(self) -> tuple[str, Mapping[str, Any]]:
        """What decides the cost of a step: arms with equal workloads get equally many steps."""
        return self.recipe, {name: value for name, value in self.changes.items() if name not in FREE}


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "ladd": Arm("LADD"),
        "add": Arm("ADD", "stickers_add"),
        "lcm": Arm("LCM", "stickers_lcm"),
        "distilled": Arm("LADD + distillation loss", changes={"distillation.weight": 2.5}),
        "real": Arm("LADD, real data", changes={"data.origin": "real"}),
        "real-distilled": Arm(
            "LADD, real data + distillation loss", changes={"data.origin": "real", "distillation.weight": 2.5}
        ),
        "renoise-0": Arm("LADD, renoise mean 0", changes={"noise.renoise_mean": 0.0}),
        "renoise-0.5": Arm("LADD, renoise mean 0.5", changes={"noise.renoise_mean": 0.5}),
        "renoise-1": Arm("LADD, renoise mean 1", changes={"noise.renoise_mean": 1.0}),
        "renoise-2": Arm("LADD, renoise mean 2", changes={"noise.renoise_mean": 2.0}),
    }
)


@dataclass(frozen=True)
class Claim:
    """What the paper says about two arms, by how well the pictures follow their prompts."""

    text: str
    arm: str
    other: str
    expected: Literal["ahead", "level"] = "ahead"
    """Of the first arm, seen from the second."""


@dataclass(frozen=True)
class Study:
    """Arms side by side."""

    title: str
    arms: Mapping[str, str]
    """Names of the arms, with their labels in this study."""
    claims: tuple[Claim, ...]


STUDIES: Mapping[StudyName, Study] = MappingProxyType(
    {
        "methods": Study(
            "Methods",
            {"ladd": "LADD", "add": "ADD", "lcm": "LCM"},
            (
                Claim("LADD is better than ADD", "ladd", "add"),
                Claim("LADD is better than LCM", "ladd", "lcm"),
            ),
        ),
        "data": Study(
            "Synthetic or real data",
            {"ladd": "synthetic", "real": "real"},
            (Claim("latents of the teacher teach better than real pictures", "ladd", "real"),),
        ),
        "distillation": Study(
            "Distillation loss",
            {
                "ladd": "synthetic, without",
                "distilled": "synthetic, with",
                "real": "real, without",
                "real-distilled": "real, with",
            },
            (
                Claim("on synthetic data, the distillation loss brings nothing", "distilled", "ladd", "level"),
                Claim("on real data, the distillation loss helps", "real-distilled", "real"),
            ),
        ),
        "renoise": Study(
            "Mean of the renoising level",
            {
                "ladd": "-1 (the paper's 1, shifted to 8 x 8 latents)",
                "renoise-0": "0",
                "renoise-0.5": "0.5",
                "renoise-1": "1",
                "renoise-2": "2",
            },
            (
                Claim("a mean of 1 is better than 0", "renoise-1", "renoise-0"),
                Claim("a mean of 1 is better than 0.5", "renoise-1", "renoise-0.5"),
                Claim("a mean of 1 is better than 2", "renoise-1", "renoise-2"),
            ),
        ),
    }
)


class CompareWork(WorkSection):
    """Where everything lies and runs. On CPU as many arms train at once as there are workers, each in a process with
    the threads of one; on a GPU one after the other. The workers draw latents and evaluation pictures.
    """

    name: str = Field(default="compare", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the comparison and of its folder. The same name and configuration continue it."""
    directory: str = "runs"
    """Folder of all runs, whose latents are shared. A relative one lies in $LADD_RAY_HOME where that is set."""

    @property
    def runs_at_once(self) -> int:
        """Processes that train side by side."""
        return max(self.num_workers, 1) if self.device == "cpu" else 1


class CompareConfig(Section):
    """A whole comparison."""

    studies: tuple[StudyName, ...] = ("methods", "data", "distillation", "renoise")
    """What is compared. Arms that several studies share are trained once."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; each trains every arm anew."""
    seconds: float = Field(default=240.0, gt=0)
    """Training time of each arm and seed, without loading and export. It becomes a number of steps by the seconds of a
    step, which are measured once and kept, so that a restarted comparison goes on exactly."""
    teacher: str = EMBEDDED
    """Model to distil: 'stickers' (the embedded model) or a folder of a model of the embedded world."""
    base: dict[str, str] = Field(default_factory=dict)
    """Settings of every arm, by dotted names: --base run.global_batch_size 24 data.num_latents 512."""
    num_images: int = Field(default=256, ge=8)
    """Held-out prompts that every sampler draws for its scores."""
    student_steps: tuple[int, ...] = (1, 2, 4)
    """Numbers of steps that are scored."""
    diversity: DiversitySection = DiversitySection()
    num_sample_prompts: int = Field(default=6, ge=1)
    """Columns of sheet.png."""
    evaluation_seed: int = 2024
    """Seed of held-out prompts and of all evaluation noise."""
    run: CompareWork = CompareWork()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of all arms of the studies, each once."""
        return tuple(dict.fromkeys(arm for study in self.studies for arm in STUDIES[study].arms))

    @model_validator(mode="after")
    def _check_sets(self) -> Self:
        for name in ("studies", "seeds", "student_steps"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} = {values} must be distinct, and at least one")
        return self

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        if ours := sorted({*OF_RUNS, *_shared(self)}.intersection(self.base)):
            raise ValueError(
                f"base: a comparison sets {', '.join(ours)} itself; use seeds, seconds, student_steps, teacher and run"
            )
        for arm in self.arms:
            configured(self, arm)
        return self


def configured(config: CompareConfig, arm: str) -> Config:
    """The distillation of an arm, before its seed and its number of steps are known.

    Raises:
        ValueError: ``base`` has an unknown setting, or one that the arm cannot have.
    """
    base = {name: _parsed(text) for name, text in config.base.items()}
    return override(RECIPES[ARMS[arm].recipe](), {**base, **_shared(config), **ARMS[arm].changes})


def _shared(config: CompareConfig) -> dict[str, Any]:
    """Settings that a comparison decides for all arms, by dotted names."""
    run = config.run
    return {
        "teacher.path": config.teacher,
        # Every arm uses its time up: a collapse shows in the scores.
        "health.stop": False,
        "run.directory": run.directory,
        "run.num_workers": 0,
        "run.engine": "local",
        "run.device": run.device,
        "run.threads_per_worker": run.threads_per_worker,
        "evaluation.student_steps": config.student_steps,
    }


def _parsed(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
