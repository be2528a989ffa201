"""What Prometheus finds at the address of Ray's metrics, on a real Ray Serve."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

import httpx2
import openai
import pytest

from serve.metrics import prometheus_address
from tests.serve.endpoints import KEY
from tests.serve.pictures import photo_file

pytestmark = pytest.mark.slow

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


def test_prometheus_knows_where_the_time_went(client: openai.OpenAI) -> None:
    for seed in (1, 2):
        client.images.generate(
            prompt="a green cat", size="80x48", n=2, extra_body={"num_inference_steps": 3, "seed": seed}
        )
    client.images.edit(prompt="a cat", image=photo_file(), extra_body={"num_inference_steps": 1})
    drawn = {"task": "generate", "size": "80x48", "steps": "3", "deployment": "model-student"}
    samples = wait_for(lambda found: total(found, "decode_seconds_count", **drawn) == 4)
    for phase in ("queue", "text_encode", "given_encode", "decode"):
        assert total(samples, f"{phase}_seconds_count", **drawn) == 4
    assert total(samples, "step_seconds_count", **drawn) == 12
    assert total(samples, "batch_rows_count", **drawn) == 12
    assert 12 <= total(samples, "batch_rows_sum", **drawn) <= 48
    wait_for(lambda found: total(found, "decode_seconds_count", task="edit", size="64x64", steps="1") == 1)
    wait_for(lambda found: total(found, "file_encode_seconds_count", format="png", deployment="gateway") >= 5)


def test_prometheus_counts_cached_prompts_and_refusals(client: openai.OpenAI) -> None:
    for _ in range(3):
        client.images.generate(prompt="two red cat on a blue apple", extra_body={"num_inference_steps": 1})
    with pytest.raises(openai.BadRequestError):
        client.images.generate(prompt="cat " * 60)
    wait_for(lambda found: total(found, "prompts_total", cached="true") >= 2)
    wait_for(lambda found: total(found, "prompts_total", cached="false") >= 1)
    wait_for(lambda found: total(found, "refusals_total", code="prompt_too_long") >= 1)
