"""Everything about a sweep that can be known before a trial begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ladd_ray.config import Config, override
from ladd_ray.evaluation.protocol import with_hash
from ladd_ray.models.folder import shape_config
from ladd_ray.models.judge import Judge
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import SWEEP_FILE, ChoiceRecord, SweepRecord, read_record, write_record
from ladd_ray.sweep_space import Point, Space, grid_points, parse_space, require_blocks, require_fit, resolved
from ladd_ray.tracking import flatten
from ladd_ray.training.milestones.reference import reference_facts
from ladd_ray.training.preflight import Plan, prepare

MAY_DIFFER = {"started", "ended", "mlflow_run_id", "name"}
"""What a restarted sweep may have otherwise."""
SECONDS_AROUND = 30
"""To start a trial; measured with the embedded model on two cores."""


@dataclass(frozen=True)
class Trainee:
    """What makes a run of a point of the space. Plain, so that it travels to the process of a trial."""

    standard: Config
    """What all trials share, with absolute paths."""
    num_blocks: int
    """Of the teacher's transformer."""

    def changes(self, point: Mapping[str, JsonValue], *, seed: int) -> Point:
        """Changes of the standard, by dotted names."""
        return {**resolved(point, num_blocks=self.num_blocks), "run.seed": seed}

    def config(self, point: Mapping[str, JsonValue], *, seed: int, name: str) -> Config:
        """The whole configuration of a trial.

        Raises:
            ValueError: the configuration refuses the point.
        """
        return override(self.standard, {**self.changes(point, seed=seed), "run.name": name})


@dataclass(frozen=True)
class SweepPlan:
    """A checked sweep."""

    config: SweepConfig
    space: Space
    standard: Plan
    """Of what all trials share."""
    folder: Path
    protocol: dict[str, Any]
    num_blocks: int

    @property
    def trials(self) -> Path:
        """Folder of the trials' runs."""
        return self.folder / "trials"

    @property
    def num_trials(self) -> int:
        """When all have begun."""
        config = self.config
        return len(grid_points(self.space)) * len(config.seeds) if config.grid else config.samples

    @property
    def choices(self) -> dict[str, ChoiceRecord]:
        """Dimensions with listed values; in a grid, all of them."""
        return {name: dimension for name, dimension in self.space.items() if isinstance(dimension, ChoiceRecord)}

    def trainee(self, settings: Mapping[str, Any], *, parent_run_id: str | None) -> Trainee:
        """What makes runs.

        Args:
            settings: what a worker of the standard is told; latents and reference are shared.
            parent_run_id: of the tracked sweep.
        """
        changes = {
            "data.latents": settings["latents"] if Path(settings["latents"]).is_dir() else None,
            "milestones.reference": settings["reference"],
            "run.directory": str(self.trials),
            "tracking.uri": self.tracking_uri,
            "tracking.parent_run_id": parent_run_id,
        }
        return Trainee(override(self.standard.config, changes), self.num_blocks)

    @property
    def tracking_uri(self) -> str:
        """Where all runs are tracked, those of sweeps too."""
        config = self.standard.config
        return config.tracking.uri or f"sqlite:///{Path(config.run.directory) / 'mlflow.db'}"

    def record(self, *, mlflow_run_id: str | None = None) -> SweepRecord:
        """What is asked, for the folder."""
        config = self.config
        return SweepRecord(
            name=config.run.name,
            recipe=config.recipe,
            space_name=config.space,
            space=dict(self.space),
            grid=config.grid,
            metric=config.metric,
            steps=self.standard.config.run.steps,
            scored_at=config.scored_at,
            rungs=config.rungs,
            seeds=config.seeds,
            num_trials=self.num_trials,
            base=base_changes(config),
            protocol=self.protocol,
            started=datetime.now(UTC),
            mlflow_run_id=mlflow_run_id,
        )

    def describe(self) -> str:
        """What would run, for people."""
        config, run = self.config, self.standard.config.run
        how = "every point, to the end" if config.grid else f"searched; behind at step {config.rungs or '-'} is stopped"
        return "\n".join(
            [
                f"sweep     {config.recipe} over {config.space}: {how}",
                *(f"          {name:<36}{describe_dimension(dimension)}" for name, dimension in self.space.items()),
                f"trials    {self.num_trials}, each {run.steps} steps of {run.global_batch_size} on "
                f"{run.num_workers or 'no'} workers; seeds {', '.join(map(str, config.seeds))}",
                f"score     {config.metric}, at steps {', '.join(map(str, config.scored_at))}",
                f"folder    {self.folder}",
                f"report    {self.folder / 'report.html'}, rewritten while it runs",
            ]
        )


def describe_dimension(dimension: Any) -> str:
    """The values of a dimension, for people."""
    if isinstance(dimension, ChoiceRecord):
        return ", ".join(map(str, dimension.values))
    return f"{dimension.low:g} to {dimension.high:g} ({dimension.kind})"


def base_changes(config: SweepConfig) -> dict[str, JsonValue]:
    """What the user changed in the recipe for all trials, as values of the configuration."""
    values = flatten(config.standard.model_dump(mode="json"))
    return {name: values[name] for name in sorted(name.replace("-", "_") for name in config.base)}


def prepare_sweep(config: SweepConfig, space: Mapping[str, Any], *, fetch: bool = True) -> SweepPlan:
    """Check the whole sweep against the world.

    Args:
        config: as the user gave it.
        space: settings by dotted names, each with its values; see ``sweep_space``.
        fetch: as for ``preflight.prepare``.

    Raises:
        ValueError: with the fix in the message.
    """
    scored = {"milestones.every": config.scored_every, "run.directory": config.run.directory}
    standard = prepare(override(config.standard, scored), fetch=fetch)
    num_blocks = int(shape_config(standard.config.teacher.path)["num_layers"])
    dimensions = parse_space(space)
    require_fit(dimensions, standard.config, num_blocks=num_blocks)
    require_blocks(dimensions, standard.config, num_blocks=num_blocks)
    if config.grid:
        grid_points(dimensions)
    _require_judge(config, standard.config)
    folder = Path(standard.config.run.directory) / config.run.name
    plan = SweepPlan(config, dimensions, standard, folder, _protocol(standard), num_blocks)
    _require_same(plan)
    return plan


def claim(plan: SweepPlan, *, mlflow_run_id: str | None) -> None:
    """Note in the folder what is asked, once; an ended sweep that goes on is running again."""
    document = plan.folder / SWEEP_FILE
    record = plan.record(mlflow_run_id=mlflow_run_id)
    if document.is_file():
        record = read_record(document, SweepRecord).model_copy(update={"ended": None})
    write_record(document, record)


def _require_judge(config: SweepConfig, standard: Config) -> None:
    if config.metric == "judge" and standard.data.heldout_prompts != "stickers":
        raise ValueError("metric = judge knows the embedded world only: set it to kid for your own prompts")


def _protocol(standard: Plan) -> dict[str, Any]:
    config = standard.config
    facts = reference_facts(standard)
    return with_hash(
        {
            "reference": facts.key,
            "features": facts.features,
            "num_images": facts.num_images,
            "seed": config.evaluation.seed,
            "student_steps": config.milestones.num_inference_steps,
            "judge": Judge.__name__ if config.data.heldout_prompts == "stickers" else None,
        }
    )


def _require_same(plan: SweepPlan) -> None:
    document = plan.folder / SWEEP_FILE
    if not document.is_file():
        return
    theirs, ours = read_record(document, SweepRecord).model_dump(), plan.record().model_dump()
    if changed := sorted(name for name in ours if name not in MAY_DIFFER and theirs[name] != ours[name]):
        lines = [f"  {name}: {theirs[name]} there, {ours[name]} now" for name in changed]
        raise ValueError(
            f"{plan.folder} belongs to another sweep:\n"
            + "\n".join(lines)
            + "\nchoose another run.name, or repeat those settings to continue it"
        )
