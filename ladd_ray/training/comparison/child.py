"""The process of one arm: ``python -m ladd_ray.training.comparison.child train|bench``, started by ``processes``.

Standard input begins with a line of JSON settings. To train, that is all. A bench takes a step for every further line
and answers with its seconds; when there are no more, it answers with its peak memory in bytes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from ladd_ray.config import Config
from ladd_ray.training.comparison.bench import LocalBench
from ladd_ray.training.launch import train


def main() -> None:
    """Do what the command line says."""
    # Libraries that print must not answer in our place.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    (task,) = sys.argv[1:]
    settings = json.loads(sys.stdin.readline())
    config = Config.model_validate(settings["config"])
    # Several arms report at once.
    logging.basicConfig(level=logging.INFO, format=f"{config.run.name}: %(message)s")
    if task == "train":
        train(config)
    else:
        _bench(LocalBench(config, Path(settings["latents"])), answers)


def _bench(bench: LocalBench, answers: TextIO) -> None:
    for _ in sys.stdin:
        print(bench.step(), file=answers, flush=True)
    print(bench.close(), file=answers, flush=True)


if __name__ == "__main__":
    main()
