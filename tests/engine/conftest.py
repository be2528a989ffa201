"""Starts the processes of the distributed tests once and hands out what they saw."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ladd_ray.engine.local import LocalEngine
from tests.engine import gan
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 400


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[Any, Any]]]:
    """What each rank of each scenario saw, by scenario and rank."""
    directory = tmp_path_factory.mktemp("ranks")
    return {
        "single_first": launch("single_first", directory, world_size=1),
        "pair": launch("pair", directory, world_size=2),
        "single_last": launch("single_last", directory, world_size=1),
    }


@pytest.fixture(scope="session")
def reference() -> list[gan.Losses]:
    """Losses of ten steps on one device without DeepSpeed."""
    return gan.train(local_gan(), range(10))


def local_gan(*, accumulation: int = 1, precision: str = "fp32", penalty: float = 0.0) -> gan.Gan:
    engine = LocalEngine("cpu", total_steps=gan.TOTAL_STEPS, gradient_accumulation_steps=accumulation)
    student = gan.STUDENT.model_copy(update={"precision": precision})
    return gan.build(engine, student=student, accumulation=accumulation, penalty=penalty)


def launch(scenario: str, directory: Path, *, world_size: int) -> list[dict[Any, Any]]:
    port = free_port()
    logs = [directory / f"{scenario}_{rank}.log" for rank in range(world_size)]
    ranks = [_start(scenario, directory, rank, world_size=world_size, port=port) for rank in range(world_size)]
    try:
        codes = [process.wait(SECONDS) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert not any(codes), "\n".join(log.read_text()[-3000:] for log in logs)
    paths = [directory / f"{scenario}_{rank}.pt" for rank in range(world_size)]
    return [torch.load(path, weights_only=False) for path in paths]


def _start(scenario: str, directory: Path, rank: int, *, world_size: int, port: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    if world_size > 1:  # a single process finds no launcher's variables and has to manage
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
        environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    command = [sys.executable, "-m", "tests.engine.worker", scenario, str(directory)]
    with (directory / f"{scenario}_{rank}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
