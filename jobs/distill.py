"""Distil a text-to-image flow model into one that draws in 1 to 4 steps (LADD, arXiv 2403.12015).

    python jobs/distill.py stickers
    python jobs/distill.py stickers --student.lr 1e-4 --run.steps 200 --run.name fast
    python jobs/distill.py sd35_large --teacher.path /models/sd3.5-large --run.num-workers 8
    ray job submit --working-dir . -- python jobs/distill.py stickers

The same command continues a run that was stopped. Results lie in runs/<run.name>/.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.config import Config, to_json
from ladd_ray.recipes import RECIPES

RECIPE_DEFAULTS = {name: recipe() for name, recipe in RECIPES.items()}
RECIPE_HELP = {name: (recipe.__doc__ or "").split("\n")[0] for name, recipe in RECIPES.items()}
if TYPE_CHECKING:
    Recipe = Config
else:
    Recipe = tyro.extras.subcommand_type_from_defaults(RECIPE_DEFAULTS, RECIPE_HELP)


@dataclass(frozen=True)
class Arguments:
    """A recipe, and changes to it by dotted names."""

    config: Annotated[Recipe, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Check everything, print the whole configuration and what would run, and stop there."""


def main() -> int:
    """Command line of the distillation job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff)
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=options)
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.launch import run
        from ladd_ray.training.preflight import prepare

        if arguments.dry_run:
            plan = prepare(arguments.config, fetch=False)
            print(to_json(plan.config), plan.describe(), sep="\n\n")
        else:
            folder = run(arguments.config)
            print(f"results in {folder.path}")
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
