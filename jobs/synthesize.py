"""Draw the training set of a distillation: latents by the guided teacher, and encoded pictures where it has any.

    python jobs/synthesize.py stickers
    python jobs/synthesize.py stickers --data.guidance-range 1.5 6 --data.num-latents 4096
    python jobs/synthesize.py sd35_large --teacher.path /models/sd3.5-large --data.prompts prompts.txt
    ray job submit --working-dir . -- python jobs/synthesize.py stickers

The same command goes on where a killed one stopped. jobs/distill.py with the same arguments trains on what it made. A
picture of the first rows, decoded from what was written, lies beside the set.
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
    """Check everything, print the whole configuration and what would be drawn, and stop there."""


def main() -> int:
    """Command line of the synthesis job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff)
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=options)
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.preflight import prepare
        from ladd_ray.training.synthesis import synthesize

        if arguments.dry_run:
            plan = prepare(arguments.config, fetch=False)
            print(to_json(plan.config), plan.describe(), sep="\n\n")
        else:
            print(synthesize(arguments.config).describe())
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
