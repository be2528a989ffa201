"""The models of an evaluation: where they lie, what they are called, and how each draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ladd_ray.evaluate_config import EvaluateConfig, Role
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import (
    fingerprint,
    has_three_tasks,
    is_hub_name,
    largest_side,
    require_sd3,
    scheduler_shift,
)
from ladd_ray.training.evaluation.raw_checkpoints import RawCheckpoint, exported, find_checkpoint
from ladd_ray.training.painting import Contender
from ladd_ray.training.preflight import absolute_model
from ladd_ray.training.run_folder import RunFolder

UNTRAINED = "untrained"
AUTOMATIC: Role = "auto"


@dataclass(frozen=True)
class Candidate:
    """A model to score."""

    path: str
    """Absolute pipeline folder, or hub name."""
    name: str
    """For people; no two candidates share one."""
    role: Literal["teacher", "student"]
    fingerprint: str
    levels: tuple[float, ...] = ()
    """Noise levels of a student."""
    shift: float = 1.0
    """Timestep shift of a teacher."""
    three_tasks: bool = False
    """It also edits and inpaints."""


def find_candidates(config: EvaluateConfig, *, fetch: bool) -> list[Candidate]:
    """All models of the configuration, in order.

    Args:
        config: Of the evaluation.
        fetch: Models on the hub are downloaded and checkpoints are exported; without it, their names stand in.

    Raises:
        ValueError: a folder is missing, holds no model of this family, or cannot draw as asked.
    """
    roles = config.roles or (AUTOMATIC,) * len(config.models)
    found = [_found(path, role, config=config, fetch=fetch) for path, role in zip(config.models, roles, strict=True)]
    return _with_distinct_names(found)


def pipeline_folder(path: str) -> str:
    """The folder of the pipeline itself, also of a run that left one; hub names stay.

    Raises:
        ValueError: there is no such folder, or a run has not left a model yet.
    """
    model = absolute_model(path)
    run = RunFolder(Path(model))
    if is_hub_name(model) or (run.path / "model_index.json").is_file():
        return model
    for result in (run.export, run.pipeline):
        if result.is_dir():
            return str(result)
    if run.checkpoints.is_dir():
        raise ValueError(
            f"{path} holds checkpoints only: finish the run with the command that began it, or name one of the folders "
            f"in {run.checkpoints}"
        )
    require_sd3(model)
    return model


def contenders_of(candidate: Candidate, config: EvaluateConfig) -> Iterator[Contender]:
    """How a candidate draws: a teacher once, a student at every number of steps."""
    if candidate.role == "teacher":
        teacher = config.teacher
        yield Contender(
            name=f"{candidate.name}/teacher",
            label=f"{candidate.name}, {_steps(teacher.num_inference_steps)}, guidance {teacher.guidance_scale:g}",
            model=candidate.path,
            seed=config.seed,
            num_inference_steps=teacher.num_inference_steps,
            guidance_scale=teacher.guidance_scale,
            shift=candidate.shift,
        )
        return
    for count in config.student.steps:
        yield Contender(
            name=f"{candidate.name}/student_{count}",
            label=f"{candidate.name}, {_steps(count)}",
            model=candidate.path,
            seed=config.seed,
            num_inference_steps=count,
            levels=candidate.levels,
        )


def editing(contender: Contender, image_guidance_scale: float) -> Contender:
    """The same way to draw, led by the picture to edit too; the few-step sampler knows no guidance."""
    if contender.guidance_scale is None or image_guidance_scale == 1:
        return contender
    label = f"{contender.label}, image guidance {image_guidance_scale:g}"
    return replace(contender, label=label, image_guidance_scale=image_guidance_scale)


def untrained(contender: Contender) -> Contender:
    """The same way to draw, by a transformer of the same shape that has learned nothing."""
    return replace(contender, name=UNTRAINED, label=f"{contender.label}, untrained", untrained=True)


def _found(path: str, role: Role, *, config: EvaluateConfig, fetch: bool) -> Candidate:
    checkpoint = find_checkpoint(Path(absolute_model(path)))
    if checkpoint is None:
        return _candidate(pipeline_folder(path), role, config=config, fetch=fetch)
    if checkpoint.pipeline.is_dir() or fetch:
        return replace(_candidate(str(exported(checkpoint)), role, config=config, fetch=fetch), name=checkpoint.name)
    return _unexported(checkpoint, config=config)


def _unexported(checkpoint: RawCheckpoint, *, config: EvaluateConfig) -> Candidate:
    """What is known before anything is written."""
    return Candidate(
        str(checkpoint.pipeline),
        checkpoint.name,
        "student" if checkpoint.levels else "teacher",
        fingerprint=checkpoint.name,
        levels=config.student.levels or checkpoint.levels,
        three_tasks=checkpoint.three_tasks,
    )


def _candidate(path: str, role: Role, *, config: EvaluateConfig, fetch: bool) -> Candidate:
    require_sd3(path)
    if is_hub_name(path) and not fetch:
        return Candidate(path, _name(path), "student" if role == "student" else "teacher", fingerprint=path)
    _require_sizes(path, config)
    exported, three_tasks = _exported_levels(path), has_three_tasks(path)
    if role == "student" or (role == "auto" and exported):
        levels = config.student.levels or exported
        _require_levels(path, levels, config=config)
        return Candidate(path, _name(path), "student", fingerprint(path), levels=levels, three_tasks=three_tasks)
    shift = config.teacher.shift or scheduler_shift(path)
    return Candidate(path, _name(path), "teacher", fingerprint(path), shift=shift, three_tasks=three_tasks)


def _exported_levels(path: str) -> tuple[float, ...]:
    """Noise levels of a student; none of a model that is no export."""
    try:
        return exported_levels(path)
    except ValueError:
        return ()


def _require_levels(path: str, levels: Sequence[float], *, config: EvaluateConfig) -> None:
    if not levels:
        raise ValueError(f"{path} names no noise levels: set student.levels, or its role to teacher")
    if max(config.student.steps) > len(levels):
        raise ValueError(
            f"student.steps = {config.student.steps} goes beyond the {len(levels)} trained levels of {path}: "
            f"use 1 to {len(levels)}"
        )


def _require_sizes(path: str, config: EvaluateConfig) -> None:
    largest = largest_side(path)
    if max(max(size) for size in config.sizes) > largest:
        raise ValueError(f"sizes = {config.sizes} must not exceed {largest}, the largest side of {path}")


def _name(path: str) -> str:
    folder = Path(path)
    return folder.parent.name if folder.name in ("export", "pipeline") else folder.name


def _with_distinct_names(candidates: Sequence[Candidate]) -> list[Candidate]:
    total = Counter(candidate.name for candidate in candidates)
    seen: Counter[str] = Counter()
    named = []
    for candidate in candidates:
        seen[candidate.name] += 1
        several = total[candidate.name] > 1
        named.append(replace(candidate, name=f"{candidate.name} {seen[candidate.name]}") if several else candidate)
    return named


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"
