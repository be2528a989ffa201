"""Everything about a comparison that can be known before anything is timed or trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladd_ray.compare_config import ARMS, STUDIES, CompareConfig, configured
from ladd_ray.config import Config, override
from ladd_ray.tracking import flatten
from ladd_ray.training import run_folder
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.run_folder import RunFolder

DOCUMENT = "comparison.json"
OF_WORK = {"run.name", "run.directory", "run.num_workers", "run.batch_size", "run.cluster_timeout_s"}
MAY_DIFFER = {"studies", "seeds", *OF_WORK}
"""Settings that may change between the starts of a comparison; a further study or seed joins what is there."""

SECONDS_AROUND = 25
"""To start, load and export a run; measured with the embedded model."""
FORWARDS_PER_SECOND = 220
"""Of everybody who draws, with decoder and scores; measured with the embedded model on two cores."""


@dataclass(frozen=True)
class Trainee:
    """One run: an arm with a seed."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.arm}-seed{self.seed}"


@dataclass(frozen=True)
class ComparisonPlan:
    """A checked comparison."""

    config: CompareConfig
    arms: Mapping[str, Plan]
    """Of every arm, before its runs differ by seed and steps."""
    folder: Path

    @property
    def trainees(self) -> list[Trainee]:
        """All runs: seed by seed, so that a first table can be had early."""
        return [Trainee(arm, seed) for seed in self.config.seeds for arm in self.arms]

    @property
    def standard(self) -> Config:
        """An arm that speaks for all where they agree: model, picture size, how the teacher draws."""
        return next(iter(self.arms.values())).config

    def workload(self, arm: str) -> str:
        """The first of all arms whose steps cost the same: its seconds per step are those of this one."""
        return next(name for name, other in ARMS.items() if other.workload == ARMS[arm].workload)

    @property
    def workloads(self) -> dict[str, str]:
        """Names of all workloads, each with an arm that has it."""
        found: dict[str, str] = {}
        for arm in self.arms:
            found.setdefault(self.workload(arm), arm)
        return found

    def run_config(self, trainee: Trainee, *, steps: int) -> Config:
        """The distillation of one run."""
        plan = self.arms[trainee.arm]
        changes = {
            "run.name": trainee.name,
            "run.directory": str(self.folder / "runs"),
            "run.seed": trainee.seed,
            "run.steps": steps,
            "data.latents": str(plan.latents),
        }
        return override(plan.config, changes)

    def run_folder(self, trainee: Trainee) -> RunFolder:
        """Where a run lies."""
        return RunFolder(self.folder / "runs" / trainee.name)

    def finished(self, trainee: Trainee, config: Config) -> bool:
        """Whether a run has been trained.

        Raises:
            ValueError: its folder belongs to a run with another configuration.
        """
        return run_folder.claim(config, teacher=self.arms[trainee.arm].teacher).export.is_dir()

    def describe(self) -> str:
        """What would run, and how long it would take, for people."""
        config = self.config
        waiting = [one for one in self.trainees if not self.run_folder(one).export.is_dir()]
        rounds = math.ceil(len(waiting) / config.run.runs_at_once)
        drawing, training = self._drawing_seconds(), rounds * (config.seconds + SECONDS_AROUND)
        return "\n".join(
            [
                *(f"{name:<13}{', '.join(STUDIES[name].arms)}" for name in config.studies),
                f"arms         {len(self.arms)}, each with the seeds {', '.join(map(str, config.seeds))}",
                f"teacher      {self.standard.teacher.path} ({next(iter(self.arms.values())).teacher})",
                f"train        {len(waiting)} runs of {config.seconds:g} s on {self._where()}",
                f"score        in {', '.join(map(str, config.student_steps))} steps on {config.num_images} prompts",
                f"expect       {training / 60:.0f} min of training, {drawing / 60:.0f} min of drawing; timing and what "
                "is missing of the latents come on top",
                f"results      {self.folder}",
            ]
        )

    def _where(self) -> str:
        run = self.config.run
        threads = f"{run.threads_per_worker} thread{'s' if run.threads_per_worker > 1 else ''}"
        return "a GPU" if run.device == "gpu" else f"{threads} each, {run.runs_at_once} at once"

    def _drawing_seconds(self) -> float:
        config = self.config
        pictures = config.num_images + config.diversity.num_prompts * config.diversity.num_seeds
        many = 2 * 2 * self.standard.data.num_inference_steps
        few = sum(config.student_steps) * (len(self.trainees) + 2)
        return pictures * (many + few) / FORWARDS_PER_SECOND


def prepare_comparison(config: CompareConfig, *, fetch: bool = True) -> ComparisonPlan:
    """Check the whole comparison against the world.

    Args:
        config: As the user gave it.
        fetch: As for ``preflight.prepare``.

    Raises:
        ValueError: With the fix in the message.
    """
    arms = {arm: prepare(configured(config, arm), fetch=fetch) for arm in config.arms}
    directory = next(iter(arms.values())).config.run.directory
    plan = ComparisonPlan(config, arms, Path(directory) / config.run.name)
    _require_same(plan)
    return plan


def claim(plan: ComparisonPlan) -> None:
    """Note in the folder whose it is."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_json(plan.folder / DOCUMENT, _identity(plan))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """A file that appears whole."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(path)


def _identity(plan: ComparisonPlan) -> dict[str, Any]:
    settings = flatten(plan.config.model_dump(mode="json"))
    kept = {name: value for name, value in settings.items() if name not in MAY_DIFFER}
    return {**kept, "teacher.fingerprint": next(iter(plan.arms.values())).teacher}


def _require_same(plan: ComparisonPlan) -> None:
    document = plan.folder / DOCUMENT
    if not document.is_file():
        return
    theirs, ours = json.loads(document.read_text()), _identity(plan)
    if changed := sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name)):
        lines = [f"  {name}: {theirs.get(name)} there, {ours.get(name)} now" for name in changed]
        raise ValueError(
            f"{plan.folder} belongs to another comparison:\n"
            + "\n".join(lines)
            + "\nchoose another run.name, or repeat those settings to continue it"
        )
