"""Search the settings of a distillation: many whole trainings under Ray Tune, and the winner as a file for the next.

    python tune/sweep.py stickers --space noise --samples 8
    python tune/sweep.py stickers --space heads --grid --seeds 0 1 2 --run.name heads-study
    python tune/sweep.py stickers --space my-space.yaml --base run.steps 100 run.num_workers 0 run.engine local
    ray job submit --working-dir . -- python tune/sweep.py stickers --space all --samples 32
    python jobs/distill.py stickers --overrides runs/sweep/best.json

A search asks Optuna for points, and ASHA stops trials whose scores are behind: KID or the judge's, never losses. With
--grid every point of the grid of that name (noise, noise_shifted, heads) is trained to the end, with every seed. A
trial whose training collapses or fails does not end the sweep; its reason is kept. The same command goes on where it
stopped.

A trial trains on its own Ray workers, as many trials at once as the cluster holds. Small models train faster inside the
trial itself: --base run.num_workers 0 run.engine local.

Results lie in runs/<run.name>/: report.html, trials.json, best.json, and the run of every trial.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.config import to_json
from ladd_ray.sweep_config import SweepConfig
from tune.spaces import find_space


@dataclass(frozen=True)
class Arguments:
    """A recipe, a space, and how to search it."""

    config: Annotated[SweepConfig, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Check everything, print the whole configuration and what would run, and stop there."""


def main() -> int:
    """Command line of a sweep; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName, tyro.conf.FlagCreatePairsOff)
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=options)
        config = arguments.config
        space = find_space(config.space, grid=config.grid)
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.evaluation.sweep_report import write_report
        from ladd_ray.training.sweeping.launch import sweep
        from ladd_ray.training.sweeping.plan import prepare_sweep

        if arguments.dry_run:
            plan = prepare_sweep(config, space, fetch=False)
            print(to_json(config), plan.describe(), sep="\n\n")
        else:
            folder = sweep(config, space, listeners=[write_report])
            print(f"results in {folder}, report in {write_report(folder)}")
    except (ValueError, ModuleNotFoundError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
