"""Train LADD, ADD and LCM side by side on equal time, and check the paper's claims on the embedded world.

    python jobs/compare.py
    python jobs/compare.py --studies methods --seeds 0 --seconds 60 --run.name look
    python jobs/compare.py --base run.global_batch_size 24 data.num_latents 512 --run.name small
    python jobs/compare.py --dry-run

Four studies: the methods; synthetic or real data; with and without the distillation loss; where the judge looks. Steps
are timed first, so that every arm trains equally long. The same command goes on where it stopped, and further studies
and seeds join what is there. Results lie in runs/<run.name>/: table.md, compare.png, sheet.png, results.json. The whole
of it takes about 90 minutes on two cores.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.compare_config import CompareConfig
from ladd_ray.config import to_json


@dataclass(frozen=True)
class Arguments:
    """What to compare, and for how long."""

    config: Annotated[CompareConfig, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Check everything, print the whole configuration, the arms and the time to expect, and stop there."""


def main() -> int:
    """Command line of the comparison; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.comparison.launch import compare
        from ladd_ray.training.comparison.plan import prepare_comparison

        if arguments.dry_run:
            plan = prepare_comparison(arguments.config, fetch=False)
            print(to_json(arguments.config), plan.describe(), sep="\n\n")
        else:
            print(f"results in {compare(arguments.config)}")
    except (ValueError, ModuleNotFoundError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
