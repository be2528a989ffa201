"""A synthesis that is killed at random and started again, as a command of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from ladd_ray.config import override
from ladd_ray.data.prompts import read_prompts
from ladd_ray.recipes import stickers
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.shards import unfinished_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
COUNT = 1500
PIECES = 12
SECONDS = 900


def command(settings: dict[str, object]) -> list[str]:
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "jobs/synthesize.py", "stickers", *flags]


def start(settings: dict[str, object], log: Path) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that a kill takes its workers too, as the end of a machine does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(settings),
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=log.open("ab"),
        stderr=log.open("ab"),
    )


def wait_for_pieces(plan: Plan, count: int, *, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while len(list(unfinished_folder(plan.latents).glob("*.parquet"))) < count:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.01)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_prompt_is_there_once_after_two_kills(tiny_folder: Path, tmp_path: Path, num_workers: int) -> None:
    settings: dict[str, object] = {
        "teacher.path": str(tiny_folder),
        "data.num_latents": COUNT,
        "data.num_inference_steps": 1,
        "run.directory": str(tmp_path / "runs"),
        "run.num_workers": num_workers,
    }
    plan = prepare(override(stickers(), settings))
    generator, log = random.Random(0), tmp_path / "log.txt"
    done = 0
    for _ in range(2):
        process = start(settings, log)
        done += generator.randint(1, PIECES // 2 - 1)
        try:
            wait_for_pieces(plan, done, process=process, log=log)
            time.sleep(generator.uniform(0, 0.3))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not plan.latents.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in unfinished_folder(plan.latents).glob("*.parquet")}
    process = start(settings, log)
    assert process.wait(SECONDS) == 0, log.read_text()[-3000:]
    assert {name: (plan.latents / name).stat().st_mtime_ns for name in kept} == kept
    rows = pa.concat_tables(
        parquet.read_table(path, columns=["id", "prompt"]) for path in plan.latents.glob("*.parquet")
    )
    rows = rows.sort_by("id")
    assert rows["id"].to_pylist() == list(range(COUNT))
    assert rows["prompt"].to_pylist() == read_prompts("stickers", COUNT, split="train", seed=plan.config.data.seed)
    assert "go on with" in log.read_text()
