"""What is counted when, and what Prometheus finds at the address of Ray's metrics, on a real Ray Serve."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.walk import Order
from serve import metrics
from serve.deployment import ModelReplica
from serve.metrics import ReplicaMetrics, prometheus_address
from serve.succession import Running
from tests.serve.actors import FACTS, TIMINGS
from tests.serve.endpoints import KEY
from tests.serve.pictures import photo_file

_LINE = re.compile(r"(?P<name>\w+){(?P<labels>.*)} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
Samples = list[tuple[str, Mapping[str, str], float]]


@pytest.fixture(scope="package")
def address(ray_endpoint: str) -> str:
    """Nothing is counted without Ray."""
    return ray_endpoint


@pytest.fixture
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=100)


def scraped() -> Samples:
    lines = httpx2.get(prometheus_address(), timeout=30).text.splitlines()
    found = [match for line in lines if (match := _LINE.match(line))]
    return [(match["name"], dict(_LABEL.findall(match["labels"])), float(match["value"])) for match in found]


def total(samples: Samples, name: str, **labels: str) -> float:
    """Of all that has these labels."""
    return sum(value for found, own, value in samples if found == f"ray_ladd_{name}" and labels.items() <= own.items())


def wait_for(holds: Callable[[Samples], bool], *, within_s: float = 60.0) -> Samples:
    """What is there as soon as something holds: replicas report now and then."""
    until = time.monotonic() + within_s
    while not holds(samples := scraped()) and time.monotonic() < until:
        time.sleep(0.5)
    assert holds(samples), [(name, dict(labels), value) for name, labels, value in samples if "ladd" in name]
    return samples


@pytest.mark.slow
def test_prometheus_knows_where_the_time_went(client: openai.OpenAI) -> None:
    for seed in (1, 2):
        client.images.generate(
            prompt="a green cat", size="80x48", n=2, extra_body={"num_inference_steps": 3, "seed": seed}
        )
    client.images.edit(prompt="a cat", image=photo_file(), extra_body={"num_inference_steps": 1})
    drawn = {"task": "generate", "size": "80x48", "steps": "3", "deployment": "model-student"}
    samples = wait_for(lambda found: total(found, "decode_seconds_count", **drawn) == 4)
    assert total(samples, "queue_seconds_count", **drawn) == 4
    for phase in ("text_encode", "given_encode"):
        assert total(samples, f"{phase}_seconds_count", **drawn) == 2
    assert total(samples, "step_seconds_count", **drawn) == 12
    assert total(samples, "batch_rows_count", **drawn) == 12
    assert 12 <= total(samples, "batch_rows_sum", **drawn) <= 48
    wait_for(lambda found: total(found, "decode_seconds_count", task="edit", size="64x64", steps="1") == 1)
    wait_for(lambda found: total(found, "file_encode_seconds_count", format="png", deployment="gateway") >= 5)


@pytest.mark.slow
def test_prometheus_counts_cached_prompts_and_refusals(client: openai.OpenAI) -> None:
    for _ in range(3):
        client.images.generate(prompt="two red cat on a blue apple", extra_body={"num_inference_steps": 1})
    with pytest.raises(openai.BadRequestError):
        client.images.generate(prompt="cat " * 60)
    wait_for(lambda found: total(found, "prompts_total", cached="true") >= 2)
    wait_for(lambda found: total(found, "prompts_total", cached="false") >= 1)
    wait_for(lambda found: total(found, "refusals_total", code="prompt_too_long") >= 1)


class Studio:
    """Draws three pictures and a preview of each; then its backlog is empty."""

    def __init__(self) -> None:
        self.admission = SimpleNamespace(backlog=3e6)

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        try:
            for index in range(len(order.seeds)):
                yield Drawn(index, np.zeros((1, 1, 3), np.uint8), partial=0)
                yield Drawn(index, np.zeros((1, 1, 3), np.uint8), timings=TIMINGS)
        finally:
            self.admission.backlog = 0.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """What each metric was told, in this order."""
    found: dict[str, list[float]] = {}

    def metric(name: str, **_: Any) -> SimpleNamespace:
        values = found.setdefault(name.removeprefix("ladd_"), [])

        def tell(value: float, _labels: Mapping[str, str] | None = None) -> None:
            values.append(value)

        return SimpleNamespace(observe=tell, inc=tell, set=tell)

    monkeypatch.setattr(metrics, "metrics", SimpleNamespace(Histogram=metric, Counter=metric, Gauge=metric))
    return found


async def drawn_by_a_replica(order: Order, *, leave_after: int | None = None) -> None:
    replica = ModelReplica.__new__(ModelReplica)
    replica._metrics = ReplicaMetrics()
    replica._models = SimpleNamespace(current=Running(Studio(), FACTS))  # type: ignore[assignment, arg-type]
    drawings = replica.draw(order, num_previews=1, within_s=9.0)
    seen = 0
    async with aclosing(drawings):
        async for _ in drawings:
            seen += 1
            if seen == leave_after:
                return


ORDER = Order("generate", "a cat", 64, 64, seeds=(1, 2, 3), num_inference_steps=2)


def test_an_order_has_one_prompt_however_many_pictures(told: dict[str, list[float]]) -> None:
    asyncio.run(drawn_by_a_replica(ORDER))
    counts = {name: len(values) for name, values in told.items()}
    assert (counts["prompts_total"], counts["text_encode_seconds"], counts["given_encode_seconds"]) == (1, 1, 1)
    assert (counts["queue_seconds"], counts["decode_seconds"]) == (3, 3)
    assert (counts["step_seconds"], told["batch_rows"]) == (6, [2, 4] * 3)


@pytest.mark.parametrize("leave_after", [None, 1])
def test_the_backlog_is_told_when_an_order_ends(told: dict[str, list[float]], leave_after: int | None) -> None:
    asyncio.run(drawn_by_a_replica(ORDER, leave_after=leave_after))
    assert told["backlog_megapixel_steps"] == [3.0, 0.0]
