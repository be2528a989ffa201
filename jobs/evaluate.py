"""Score models on held-out prompts, edits and holes: distances, what the judge sees, variety, speed.

    python jobs/evaluate.py runs/stickers stickers --num-images 1024 --run.num-workers 2
    python jobs/evaluate.py runs/my-run --prompts my-prompts.txt --reference photos/ --sizes 1024 1024
    python jobs/evaluate.py runs/stickers-tasks --sizes 64 64 64 96 96 64 --num-edits 256 --num-inpaints 256
    python jobs/evaluate.py runs/stickers/checkpoints/checkpoint_00000100
    python jobs/evaluate.py runs/other --output runs/evaluation-other --compare-with runs/evaluation

Writes results.json, table.md and samples.png. Real pictures, their reconstructions, an untrained network and shuffled
prompts are scored in the same table: it shows how good a score can get, and what is worth nothing. Models that edit and
inpaint do so too, in tables of their own beside exact targets and untouched sources, with edits.png and fills.png.
Several sizes are compared in one more table. A checkpoint of a run, finished or not, is exported into its own folder
before it draws.
Scores made in different ways have different protocol hashes and are not put in one table.
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
from ladd_ray.evaluate_config import EvaluateConfig


@dataclass(frozen=True)
class Arguments:
    """Models, and how to score them."""

    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Check everything, print the whole configuration and what would run, and stop there."""


def main() -> int:
    """Command line of the evaluation job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = (tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName, tyro.conf.FlagCreatePairsOff)
    try:
        arguments = tyro.cli(Arguments, description=__doc__, config=options)
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.evaluation.job import evaluate_models
        from ladd_ray.training.evaluation.plan import prepare_evaluation

        if arguments.dry_run:
            plan = prepare_evaluation(arguments.config, fetch=False)
            print(to_json(arguments.config), plan.describe(), sep="\n\n")
        else:
            print(f"results in {evaluate_models(arguments.config)}")
    except (ValueError, ModuleNotFoundError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
