"""The model of a run, finished or not, as a folder that plain diffusers opens; and into MLflow's registry.

    python jobs/export.py runs/stickers
    python jobs/export.py runs/stickers/checkpoints/checkpoint_00000100 --output students/early
    python jobs/export.py runs/stickers --register-as stickers --alias champion

A run gives its finished model, or else that of its newest checkpoint. Registered, it is served by
`serve run serve.app:build model=models:/stickers@champion`, which follows the alias.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.config import TrackingConfig


@dataclass(frozen=True)
class Arguments:
    """Which model, and where to."""

    source: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or of one of its checkpoints."""
    output: Path | None = None
    """Folder to make; by default the model stays in the run's folder, and its path is printed."""
    register_as: str | None = None
    """Name in MLflow's registry under which it becomes a new version: models:/NAME/1, ..."""
    alias: str | None = None
    """Alias that moves to that version, such as champion."""
    tracking_uri: str | None = None
    """MLflow's server or database; by default that of the run."""


def main() -> int:
    """Command line of the export; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        arguments = tyro.cli(Arguments, description=__doc__)
        tracking = TrackingConfig(uri=arguments.tracking_uri, register_as=arguments.register_as, alias=arguments.alias)
        # torch and diffusers take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.exporting import export

        found = export(arguments.source, output=arguments.output, tracking=tracking)
        print(f"model in {found.path}")
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
