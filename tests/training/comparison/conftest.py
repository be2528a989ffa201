"""What the tests of comparisons share: one that trains tiny models, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ladd_ray.compare_config import CompareConfig
from ladd_ray.config import override

BASE = {
    "discriminator.width": "32",
    "data.num_latents": "12",
    "data.num_inference_steps": "2",
    "run.global_batch_size": "4",
    "tracking.log_every": "1",
}
SMALL = {
    "studies": ("methods",),
    "seeds": (0,),
    "seconds": 1.0,
    "base": BASE,
    "num_images": 8,
    "student_steps": (1, 4),
    "diversity.num_prompts": 2,
    "diversity.num_seeds": 2,
    "num_sample_prompts": 3,
    "run.num_workers": 0,
}

Configure = Callable[..., CompareConfig]


@pytest.fixture
def configure(tiny_folder: Path, tmp_path: Path) -> Configure:
    """A small comparison in a folder of its own; changes write a dot as two underscores."""

    def configured(**changes: object) -> CompareConfig:
        paths = {"teacher": str(tiny_folder), "run.directory": str(tmp_path)}
        return override(CompareConfig(), {**SMALL, **paths, **{k.replace("__", "."): v for k, v in changes.items()}})

    return configured
