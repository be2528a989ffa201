"""Where arms train and are timed: each in a process of its own, so that no arm sees another one's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import ladd_ray
from ladd_ray.config import Config
from ladd_ray.training.cluster import WORKER_ENVIRONMENT
from ladd_ray.training.comparison.bench import Bench

CHILD = "ladd_ray.training.comparison.child"


@dataclass(frozen=True)
class Lab:
    """How a comparison gets its work done."""

    bench: Callable[[Config, Path], Bench]
    """Opens a bench for a configuration and its latents."""
    train: Callable[[Config], object]
    """Trains a run up to its export.

    Raises:
        TrainingError: it did not get there.
    """


class TrainingError(Exception):
    """A run ended in an error, which it has printed."""


class ProcessBench:
    """A bench in another process, which waits between its steps."""

    def __init__(self, config: Config, latents: Path) -> None:
        """Start it; it loads while others do."""
        self._name = config.run.name
        self._process = _start("bench", config, stdout=subprocess.PIPE, latents=str(latents))

    def step(self) -> float:
        """See ``Bench.step``."""
        # A process that is gone does not answer either.
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).write("step\n")
            _pipe(self._process.stdin).flush()
        return float(self._answer())

    def close(self) -> int:
        """See ``Bench.close``."""
        _pipe(self._process.stdin).close()
        peak = int(self._answer())
        self._process.wait()
        return peak

    def _answer(self) -> str:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise ValueError(f"{self._name} could not be timed: the error of its process stands above")
        return line


def train_apart(config: Config) -> None:
    """Train in a new process.

    Raises:
        TrainingError: it ended in an error.
    """
    process = _start("train", config)
    try:
        _pipe(process.stdin).close()
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code:
        raise TrainingError(f"{config.run.name} ended with code {code}: its error stands above")


SEPARATE = Lab(bench=ProcessBench, train=train_apart)
"""What a comparison uses."""


def _start(
    task: Literal["bench", "train"], config: Config, *, stdout: int | None = None, **settings: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", CHILD, task],
        stdin=subprocess.PIPE,
        stdout=stdout,
        text=True,
        env=_environment(config.run.threads_per_worker),
    )
    message: dict[str, Any] = {"config": config.model_dump(mode="json"), **settings}
    _pipe(process.stdin).write(json.dumps(message) + "\n")
    _pipe(process.stdin).flush()
    return process


def _environment(threads: int) -> dict[str, str]:
    """That of the workers of a cluster, so that training is as fast here as there."""
    package = str(Path(ladd_ray.__path__[0]).parent)
    paths = filter(None, [package, os.environ.get("PYTHONPATH")])
    ours = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
    return os.environ | WORKER_ENVIRONMENT | ours


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None, "opened with this pipe"
    return end
