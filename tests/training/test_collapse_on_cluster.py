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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
COLLAPSING = {
    "run.name": "collapsing",
    "run.num_workers": 1,
    "run.max_failures": 3,
    "run.checkpoint_every": 2,
    # Nobody listens there: only the run's folder is looked at here.
    "tracking.uri": "http://127.0.0.1:1",
    # No gradient is large enough, so that the third step is the last.
    "health.min_student_gradient": 1e9,
    "health.patience": 3,
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
        timeout=1100,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "error: The run collapsed at step 3: the student gets no gradient" in errors[0]
    assert "collapse.md" in errors[0]
    assert [point["step"] for point in history(config).read()] == [1, 2, 3], "it was begun again"
    assert list((config.run_directory / "checkpoints").glob("*/manifest.json")), "it could have been begun again"
    assert not (config.run_directory / "export").exists()
