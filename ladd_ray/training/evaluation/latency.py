"""How long a picture takes, on a worker that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ladd_ray.training.painting import Contender, Crew, Painter, Sample
from ladd_ray.training.sampler import worker_device

REPEATS = 5
LATENCY_DEFINITION = "median seconds per picture, from prompt and given picture to pixels, after one drawing to warm up"


@dataclass(frozen=True)
class Latency:
    """Seconds per picture of one contender."""

    alone: float
    """One picture at once."""
    in_batch: float
    """``batch_size`` pictures at once."""
    batch_size: int
    height: int
    width: int
    machine: str
    definition: str = LATENCY_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def latencies(contenders: Sequence[Contender], samples: Sequence[Sample], *, crew: Crew) -> dict[str, Latency]:
    """Each contender's latency by its name, one after the other, on one worker of the crew."""
    if not crew.num_workers:
        return _measure(contenders, samples, crew)
    import ray

    remote: Any = ray.remote(num_cpus=crew.threads, num_gpus=1 if crew.device == "gpu" else 0)(_measure)
    measured: dict[str, Latency] = ray.get(remote.remote(contenders, samples, crew))
    return measured


def machine_name(crew: Crew) -> str:
    """The processor that draws, for people."""
    if worker_device(crew.device).type == "cuda":
        return torch.cuda.get_device_name()
    threads = f"{crew.threads} thread{'s' if crew.threads > 1 else ''}"
    return f"{_cpu_name()}, {threads}"


def _measure(contenders: Sequence[Contender], samples: Sequence[Sample], crew: Crew) -> dict[str, Latency]:
    painter, first = Painter(crew), samples[0]
    alike = [sample for sample in samples if (sample.height, sample.width) == (first.height, first.width)]
    batch = alike[: crew.batch_size]
    return {
        contender.name: Latency(
            alone=_seconds(painter, contender, batch[:1]),
            in_batch=_seconds(painter, contender, batch),
            batch_size=len(batch),
            height=first.height,
            width=first.width,
            machine=machine_name(crew),
        )
        for contender in contenders
    }


def _seconds(painter: Painter, contender: Contender, samples: Sequence[Sample]) -> float:
    """Per picture. A drawing ends with pixels on the CPU, so that clocks need no synchronisation."""
    painter.paint(contender, samples)
    durations = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        painter.paint(contender, samples)
        durations.append(time.perf_counter() - start)
    return median(durations) / len(samples)


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unnamed CPU"
