"""Train a Stable Diffusion 3 model by flow matching: the embedded one from nothing, or any one for three tasks.

    python jobs/pretrain.py stickers --threads 2                    the embedded model, from nothing
    python jobs/pretrain.py stickers_tasks --optimizer.lr 5e-4      the embedded model learns to edit and inpaint
    python jobs/pretrain.py sd3_medium_tasks --model.path /models/sd3-medium --data.source '/data/*.parquet'

The same command continues a run that was stopped. A continued training leaves a pipeline folder, losses of held-out
rows (metrics.json) and curves.png in runs/<run.name>/; jobs/distill.py takes the pipeline as its teacher.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.config import to_json
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.recipes import TASK_RECIPES
from ladd_ray.training.pretraining.settings import PretrainConfig

RECIPE_DEFAULTS = {"stickers": PretrainConfig(), **{name: recipe() for name, recipe in TASK_RECIPES.items()}}
RECIPE_HELP = {
    "stickers": "The embedded model, from nothing: autoencoder, text towers, transformer.",
    **{name: (recipe.__doc__ or "").split("\n")[0] for name, recipe in TASK_RECIPES.items()},
}
if TYPE_CHECKING:
    Recipe = FinetuneConfig | PretrainConfig
else:
    Recipe = tyro.extras.subcommand_type_from_defaults(RECIPE_DEFAULTS, RECIPE_HELP)


@dataclass(frozen=True)
class Arguments:
    """A recipe, and changes to it by dotted names."""

    config: Annotated[Recipe, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Check everything, print the whole configuration and what would run, and stop there."""


def main() -> int:
    """Command line of the pretraining job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff)
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=options)
        if isinstance(arguments.config, PretrainConfig):
            _from_nothing(arguments.config, dry_run=arguments.dry_run)
        else:
            _further(arguments.config, dry_run=arguments.dry_run)
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


# torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.


def _from_nothing(config: PretrainConfig, *, dry_run: bool) -> None:
    if dry_run:
        print(to_json(config))
        return
    from ladd_ray.training.pretraining.run import pretrain

    pretrain(config)


def _further(config: FinetuneConfig, *, dry_run: bool) -> None:
    from ladd_ray.training.finetuning.launch import run
    from ladd_ray.training.finetuning.preflight import prepare

    if dry_run:
        plan = prepare(config, fetch=False)
        print(to_json(plan.config), plan.describe(), sep="\n\n")
    else:
        print(f"results in {run(config).path}")


if __name__ == "__main__":
    sys.exit(main())
