"""The clock: what is counted, and on what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ladd_ray.training.evaluation import latency
from ladd_ray.training.evaluation.latency import REPEATS, latencies, machine_name
from ladd_ray.training.painting import Contender, Crew, Sample

CREW = Crew(num_workers=0, device="cpu", threads=2, precision="fp32", batch_size=4)
CONTENDERS = [Contender(name, name, "nowhere", 0, 1) for name in ("fast", "slow")]
SAMPLES = [Sample(number, "a cat", *size) for number, size in enumerate([(64, 64), (64, 96)] * 4)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """A clock that only drawing moves: 1 s, then 0.1 s a picture, ten times that for the slow one, 99 s at first."""
    now, drawn = [0.0], []

    class Stopwatch:
        def __init__(self, crew: Crew) -> None:
            pass

        def paint(self, contender: Contender, samples: Sequence[Sample]) -> NDArray[np.uint8]:
            assert {(sample.height, sample.width) for sample in samples} == {(64, 64)}
            first = (contender.name, len(samples)) not in drawn
            drawn.append((contender.name, len(samples)))
            now[0] += 99 if first else (1 + 0.1 * len(samples)) * (10 if contender.name == "slow" else 1)
            return np.zeros((len(samples), 64, 64, 3), dtype=np.uint8)

    monkeypatch.setattr(latency, "Painter", Stopwatch)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return drawn


def test_seconds_are_per_picture_without_the_first_drawing(clock: list[tuple[str, int]]) -> None:
    found = latencies(CONTENDERS, SAMPLES, crew=CREW)
    assert found["fast"].alone == pytest.approx(1.1)
    assert found["fast"].in_batch == pytest.approx(1.4 / 4)
    assert found["slow"].in_batch == pytest.approx(14 / 4)
    assert found["fast"].batch_size == 4
    assert clock.count(("fast", 1)) == clock.count(("slow", 4)) == 1 + REPEATS


def test_the_machine_is_named_with_its_threads() -> None:
    name = machine_name(CREW)
    assert name.endswith(", 2 threads") and len(name) > len(", 2 threads")
