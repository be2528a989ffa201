"""Draw sheets of what a model draws, edits and fills in, with the judge's verdict under every picture, and a table.

    python jobs/draw_teacher.py --model runs/stickers-tasks
    python jobs/draw_teacher.py --model runs/stickers-tasks/checkpoints/checkpoint_00001000 --output runs/sheets

Writes generate.webp, edits.webp and fills.webp (the last two of models that edit and inpaint) and table.md. The
pictures are the first ones of the seed in every kind, not the best ones. Nothing is special about a teacher: a
distilled model is drawn in its last number of steps.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.evaluate_config import ShowcaseConfig


def main() -> int:
    """Command line of the drawing job; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = tyro.cli(ShowcaseConfig, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
        # torch, diffusers and Ray take seconds to import: --help and typing errors need not wait for them.
        from ladd_ray.training.evaluation.showcase import draw_showcase

        print(f"sheets in {draw_showcase(config)}")
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
