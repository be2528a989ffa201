"""The documented command on a real Ray cluster: a collapsed run is not begun again, and the command fails once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from ladd_ray.config import override
from ladd_ray.recipes import stickers
from ladd_ray.training.preflight import prepare
from tests.training.pictures import write_latents
from tests.training.runs import TINY, history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
COLLAPSING = {
    "run.name": "collapsing",
    "run.num_workers": 1,
    "run.engine": "deepspeed",
    "run.max_failures": 3,
    "run.steps": 120,
    "run.checkpoint_every": 20,
    "discriminator.lr": 2e-2,
    "student.lr": 1e-9,
    "noise.renoise_mean": -5.0,
    "health.patience": 2,
    "health.max_accuracy": 0.9,
}


def test_a_collapsed_run_fails_once(cluster: None, tiny_folder: Path, tmp_path: Path) -> None:
    settings = {**TINY, **COLLAPSING, "teacher.path": str(tiny_folder), "run.directory": str(tmp_path)}
    config = override(stickers(), settings)
    plan = prepare(config)
    write_latents(plan.latents, plan.provenance)
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "jobs/distill.py", "stickers", *flags],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "error: The run collapsed at step" in errors[0] and "collapse.md" in errors[0]
    assert "Traceback" not in done.stderr
    steps = [point["step"] for point in history(config).read()]
    assert steps == list(range(1, len(steps) + 1)), "it was begun again"
    assert len(steps) < 120
    assert not (config.run_directory / "export").exists()
