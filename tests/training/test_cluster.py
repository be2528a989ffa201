"""The whole job on a real Ray cluster: two workers, DeepSpeed, killed workers, killed drivers, other worker counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from ladd_ray.config import Config, override
from ladd_ray.recipes import stickers
from ladd_ray.training.launch import run
from ladd_ray.training.preflight import prepare
from tests.training.pictures import write_latents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
STEPS = 16
LOSSES = ("student/loss", "discriminator/loss")


@pytest.fixture(scope="module")
def settings(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A tiny run on two workers, whose latents lie ready."""
    changes: dict[str, object] = {
        "teacher.path": str(tiny_folder),
        "student.zero_stage": 2,
        "student.lr": 1e-3,
        "data.num_latents": 32,
        "data.num_inference_steps": 2,
        "evaluation.num_images": 8,
        "evaluation.num_diversity_prompts": 2,
        "evaluation.num_diversity_seeds": 2,
        "evaluation.num_sample_prompts": 4,
        "discriminator.width": 8,
        "tracking.log_every": 1,
        "run.directory": str(tmp_path_factory.mktemp("runs")),
        "run.steps": STEPS,
        "run.global_batch_size": 8,
        "run.checkpoint_every": 4,
    }
    plan = prepare(override(stickers(), changes))
    write_latents(plan.latents, plan.provenance)
    return changes


def named(settings: dict[str, object], name: str, **changes: object) -> Config:
    return override(
        stickers(), {**settings, "run.name": name, **{key.replace("__", "."): value for key, value in changes.items()}}
    )


@pytest.fixture(scope="module")
def unbroken(cluster: None, settings: dict[str, object]) -> list[dict[str, float]]:
    """The history of a run that nothing disturbed."""
    return history(run(named(settings, "unbroken")).path)


def history(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if LOSSES[0] in line]


def assert_same(found: list[dict[str, float]], expected: list[dict[str, float]], *, relative: float = 1e-5) -> None:
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    for name in LOSSES:
        assert [line[name] for line in found] == pytest.approx([line[name] for line in expected], rel=relative), name


def wait_for_checkpoint(folder: Path, *, timeout_s: float = 300) -> None:
    """Until a checkpoint has arrived and training has gone on for a step or two."""
    deadline = time.monotonic() + timeout_s
    while not list(folder.glob("checkpoints/*/manifest.json")):
        assert time.monotonic() < deadline, f"no checkpoint in {folder}"
        time.sleep(0.02)


def workers() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "RayTrainWorker" in " ".join(process.info["cmdline"] or [])
    ]


def test_run_leaves_everything(unbroken: list[dict[str, float]], settings: dict[str, object]) -> None:
    folder = Path(str(settings["run.directory"])) / "unbroken"
    for name in (
        "config.json",
        "metrics.json",
        "samples.png",
        "curves.png",
        "export/model_index.json",
        "export/README.md",
    ):
        assert (folder / name).is_file(), name
    assert [line["step"] for line in unbroken] == list(range(1, STEPS + 1))
    scores = json.loads((folder / "metrics.json").read_text())["scores"]
    assert {"teacher_guided", "untrained_student_4", "student_1", "student_2", "student_4"} <= set(scores)


def test_finished_run_is_left_alone(unbroken: list[dict[str, float]], settings: dict[str, object]) -> None:
    folder = Path(str(settings["run.directory"])) / "unbroken"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    run(named(settings, "unbroken"))
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_killed_worker(unbroken: list[dict[str, float]], settings: dict[str, object]) -> None:
    config = named(settings, "killed-worker")
    killed: list[int] = []

    def kill() -> None:
        wait_for_checkpoint(config.run_directory)
        victim = workers()[0]
        killed.append(victim.pid)
        os.kill(victim.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    folder = run(config)
    killer.join()
    assert killed
    assert_same(history(folder.path), unbroken)


def test_killed_driver_continues_with_one_worker(unbroken: list[dict[str, float]], settings: dict[str, object]) -> None:
    config = named(settings, "killed-driver")
    flags = [
        part for key, value in {**settings, "run.name": "killed-driver"}.items() for part in (f"--{key}", str(value))
    ]
    address = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    driver = subprocess.Popen(
        [sys.executable, "jobs/distill.py", "stickers", *flags], cwd=ROOT, env=os.environ | address
    )
    wait_for_checkpoint(config.run_directory)
    driver.kill()
    driver.wait()
    # The same global batch on one worker: the state of two ranks is joined for it.
    folder = run(named(settings, "killed-driver", run__num_workers=1))
    assert_same(history(folder.path), unbroken, relative=1e-4)


def test_too_many_workers_are_refused(cluster: None, settings: dict[str, object]) -> None:
    config = named(settings, "too-many", run__num_workers=4, run__cluster_timeout_s=1)
    with pytest.raises(ValueError, match=r"cannot hold 4 workers: needs 4 CPU, has 2"):
        run(config)
