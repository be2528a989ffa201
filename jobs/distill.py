"""Distil a text-to-image flow model into one that draws in 1 to 4 steps (LADD, arXiv 2403.12015).

    python jobs/distill.py stickers
    python jobs/distill.py stickers --student.lr 1e-4 --run.steps 200 --run.name fast
    python jobs/distill.py sd35_large --teacher.path /models/sd3.5-large --run.num-workers 8
    python jobs/distill.py stickers --overrides runs/sweep/best.json --run.name winner
    ray job submit --working-dir . -- python jobs/distill.py stickers

The same command continues a run that was stopped. Results lie in runs/<run.name>/.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.config import Config, to_json
from ladd_ray.recipes import RECIPES
from ladd_ray.training.overrides import Overrides, read_overrides

logger = logging.getLogger(__name__)

RECIPE_HELP = {name: (recipe.__doc__ or "").split("\n")[0] for name, recipe in RECIPES.items()}


@dataclass(frozen=True)
class Arguments:
    """A recipe, and changes to it by dotted names."""

    config: Config
    overrides: Path | None = None
    """JSON file of changes that come before those of the command line: best.json of a sweep, or settings by dotted
    names. A run that deviates from the trial that won the sweep says so."""
    dry_run: bool = False
    """Check everything, print the whole configuration and what would run, and stop there."""


def arguments_class(overrides: Overrides | None) -> type[Arguments]:
    """The command line: the recipe that it names begins with the overrides, and further changes count more."""
    defaults = {name: recipe() for name, recipe in RECIPES.items()}
    named = [word for word in sys.argv[1:] if word in RECIPES][:1]
    if overrides is not None:
        defaults |= {name: overrides.apply(defaults[name]) for name in named}
    recipes: Any = tyro.extras.subcommand_type_from_defaults(defaults, RECIPE_HELP)

    # Not a class statement: its annotation would be a string, which cannot name a local type.
    fields = [("config", Annotated[recipes, tyro.conf.arg(name="")])]
    return make_dataclass("Arguments", fields, bases=(Arguments,), frozen=True)


def named_overrides() -> Overrides | None:
    """Those of the command line, which is read for them first.

    Raises:
        ValueError: the file is missing, or is none.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--overrides", type=Path)
    path = parser.parse_known_args()[0].overrides
    return None if path is None else read_overrides(path)


def main() -> int:
    """Command line of the distillation job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff)
    try:
        overrides = named_overrides()
        arguments = tyro.cli(arguments_class(overrides), description=__doc__, config=options)
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.launch import run
        from ladd_ray.training.preflight import lasting_settings, prepare

        if overrides is not None:
            logger.warning("%s", overrides.describe_drift(lasting_settings(arguments.config)))
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
