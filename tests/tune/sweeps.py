"""Sweeps over the tiny model, whose trials take seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladd_ray.sweep_config import SweepConfig
from ladd_ray.training.preflight import prepare
from tests.training.pictures import write_latents
from tests.training.runs import TINY, tiny_config

STEPS = 8
NOT_OF_BASE = {"run.name"}


def tiny_sweep(teacher: Path, directory: Path, *, base: Mapping[str, Any] | None = None, **changes: Any) -> SweepConfig:
    """A sweep of trials of 8 steps in the process of the trial, scored at every second one; its latents lie ready."""
    _write_latents(teacher, directory)
    settings: dict[str, Any] = {
        **{name: value for name, value in TINY.items() if name not in NOT_OF_BASE},
        "teacher.path": str(teacher),
        "run.steps": STEPS,
        "run.checkpoint_every": 100,
        "milestones.num_images": 8,
        "milestones.num_inference_steps": 1,
        **(base or {}),
    }
    return SweepConfig.model_validate(
        {
            "recipe": "stickers",
            "score_every": 2,
            "run": {"name": "sweep", "directory": str(directory), "report_every_s": 1.0},
            "base": {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()},
            **changes,
        }
    )


def one_at_once(config: SweepConfig) -> SweepConfig:
    """The sweep without trials at the same time, so that who is ahead at a rung does not hang on who came first."""
    return config.model_copy(update={"run": config.run.model_copy(update={"max_concurrent": 1})})


def _write_latents(teacher: Path, directory: Path) -> None:
    provenance = prepare(tiny_config(teacher, directory)).provenance
    folder = directory / "latents" / provenance.key
    if not folder.is_dir():
        write_latents(folder, provenance)
