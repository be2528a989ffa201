"""Train the embedded Stable Diffusion 3 model from nothing, on CPU or one GPU.

    python jobs/pretrain.py --threads 2
    python jobs/pretrain.py --stages autoencoder --autoencoder.steps 8000

Three stages (autoencoder, text towers, transformer); each can be stopped and continued by the same command.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.training.pretraining.run import pretrain
from ladd_ray.training.pretraining.settings import PretrainConfig


def main() -> None:
    """Command line of the pretraining job."""
    pretrain(tyro.cli(PretrainConfig, description=__doc__))


if __name__ == "__main__":
    main()
