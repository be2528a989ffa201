"""Times single steps of a distillation, and looks how much memory they take."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Protocol

import torch

from ladd_ray.config import Config
from ladd_ray.engine.local import LocalEngine
from ladd_ray.training.feeds import open_feed
from ladd_ray.training.methods import build_method
from ladd_ray.training.sampler import worker_device

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What the kernel wants to hear (man proc_pid_clear_refs)."""


class Bench(Protocol):
    """A distillation that takes one step at a time."""

    def step(self) -> float:
        """Seconds of the next step, from the order of its batch to the weights that it moved."""
        ...

    def close(self) -> int:
        """Ends it; the most bytes that its process held during the steps."""
        ...


class LocalBench:
    """In this process: the networks and the data of a run, without its checkpoints and its tracking."""

    def __init__(self, config: Config, latents: Path) -> None:
        """Load everything; ``config.run.steps`` bounds the steps that can be taken."""
        run = config.run
        self._device = worker_device(run.device)
        if self._device.type == "cpu":
            torch.set_num_threads(run.threads_per_worker)
        engine = LocalEngine(
            self._device, total_steps=run.steps, gradient_accumulation_steps=run.gradient_accumulation_steps
        )
        self._micro_steps = run.gradient_accumulation_steps
        self._method, self._feed = build_method(config, engine), open_feed(config, latents)
        self._next = 0
        # What loading took for a moment is no memory of a step.
        _reset_peak(self._device)

    def step(self) -> float:
        """See ``Bench.step``."""
        began = time.perf_counter()
        for micro_step in range(self._micro_steps):
            batch = self._feed.batch(self._next, micro_step, rank=0, world_size=1, device=self._device)
            self._method.step(batch, step=self._next)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._next += 1
        return time.perf_counter() - began

    def close(self) -> int:
        """See ``Bench.close``."""
        return _peak(self._device)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        RESET.write_text(RESET_PEAK)


def _peak(device: torch.device) -> int:
    """Bytes. Not ``ru_maxrss``, which a process inherits from the one that started it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    assert found, "the kernel tells the peak of every process"
    return 1024 * int(found[1])
