"""One rank of the sharded runs: ``python -m tests.training.rank CASES.json``, in the environment of a launcher.

One process for all cases, because the import of deepspeed costs more than they do.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from ladd_ray.config import Config
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.worker import run_worker


def main() -> None:
    for settings in json.loads(Path(sys.argv[1]).read_text()):
        checkpoints = RunFolder(Config.model_validate(settings["config"]).run_directory).checkpoints

        def merge(directory: Path, step: int, *, root: Path = checkpoints) -> None:
            """All ranks into one folder, as Ray Train does."""
            shutil.copytree(directory, root / f"checkpoint_{step}", dirs_exist_ok=True)

        run_worker(settings, deliver=merge)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
