"""A file of changes to a recipe: the winner of a sweep, or settings by dotted names. [ours]

A run that begins from a winner and deviates from the trial that won says so when it starts: settings that drifted
between a search and the run that was made of it have ruined published results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ladd_ray.config import Config, override
from ladd_ray.sweep_records import BestRecord

IGNORED = (
    "recipe", "tracking", "milestones", "run.name", "run.directory", "run.checkpoint_every", "run.checkpoints_to_keep",
    "run.max_failures", "run.cluster_timeout_s", "data.latents", "evaluation",
)  # fmt: skip
"""Settings and sections that say where a run lies and what is kept of it: no drift."""


@dataclass(frozen=True)
class Overrides:
    """Changes, and what they were tried out with."""

    source: Path
    changes: Mapping[str, Any]
    recipe: str | None = None
    """Of the trial; None fits any."""
    validated: Mapping[str, Any] = field(default_factory=dict)
    """All settings of the trial, as ``preflight.lasting_settings`` has them."""

    def apply(self, config: Config) -> Config:
        """The recipe with these changes.

        Raises:
            ValueError: it is not the recipe that they are for, or it refuses them.
        """
        if self.recipe not in (None, config.recipe):
            raise ValueError(f"{self.source} is for the recipe {self.recipe}, not for {config.recipe}")
        return override(config, self.changes)

    def drift(self, settings: Mapping[str, Any]) -> list[str]:
        """What differs from the trial, a line for each of a run's ``preflight.lasting_settings``."""
        return [
            f"{name}: {settings.get(name)} here, {value} in the trial"
            for name, value in sorted(self.validated.items())
            if settings.get(name) != value
        ]

    def describe_drift(self, settings: Mapping[str, Any]) -> str:
        """For people, when a run starts."""
        lines = self.drift(settings)
        if not lines:
            return f"as validated by {self.source}"
        listed = "\n".join(f"  {line}" for line in lines)
        return f"CONFIG DRIFT: this run deviates from the trial that {self.source} was made of:\n{listed}"


def read_overrides(path: Path) -> Overrides:
    """Changes from a JSON file: ``best.json`` of a sweep, or a mapping of dotted names to values.

    Raises:
        ValueError: the file is missing, or is neither.
    """
    if not path.is_file():
        raise ValueError(f"no file at {path}: name the best.json of a sweep, or a JSON file of settings")
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} must map settings to values, such as {{"student.lr": 1e-4}}')
    if "changes" not in content:
        return Overrides(path, content)
    best = BestRecord.model_validate(content)
    return Overrides(path, best.changes, recipe=best.recipe, validated=best.validated)
