"""More asked for than can be done: the excess is refused, nothing fails, memory stays, and the endpoint goes on."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from benchmarks import serving_overload
from benchmarks.serving_overload import OUTCOMES, Flood, overload, summary
from benchmarks.serving_requests import ask
from serve.settings import BatchSettings, EndpointSettings, ModelSettings
from tests.serve.endpoints import plain_endpoint

SECONDS = 8.0


@pytest.fixture(scope="module")
def address(student_folder: Path) -> Iterator[str]:
    model = ModelSettings(name="student", path=student_folder)
    with plain_endpoint(EndpointSettings(models=(model,), batch=BatchSettings(max_rows=8), page=False)) as found:
        yield found


@pytest.mark.alone
@pytest.mark.slow
def test_four_times_the_capacity(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_overload, "DEADLINE_S", 3.0)
    found = overload(
        address,
        (ask("generate", "a cat", steps=1 + seed % 4, seed=seed) for seed in itertools.count()),
        seconds=SECONDS,
        factor=4.0,
        memory=lambda: {"all": psutil.Process().memory_info().rss},
    )
    assert found["failed"] == {}, found
    # How many are late and how many of those who waited are let in depends on what else this machine does just now:
    # tests/test_admission.py proves both in a virtual time, and benchmarks/serving.py measures them.
    assert found["drawn"] > 0
    assert found["refused"] > 0
    assert found["tries"] == sum(found[name] for name in OUTCOMES.values())
    assert found["MiB gained by all"] < 100
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=5) as client:
        assert client.images.generate(prompt="a cat").data


def test_the_summary_counts_and_compares() -> None:
    flood = Flood(
        Counter({"drawn": 2, "refused": 1, "late": 1, "503": 1}),
        [0.5, 1.5],
        Counter({(True, True): 3, (True, False): 1, (False, False): 2}),
        [2],
        [{"all": mib << 20} for mib in (1, 2, 4)],
    )
    found = summary(flood)
    assert (found["drawn"], found["refused"], found["late"], found["failed"]) == (2, 1, 1, {"503": 1})
    assert (found["drawn in seconds, p50"], found["drawn in seconds, most"]) == (1.0, 1.5)
    assert (found["came back, told less than 60 s"], found["of these let in"]) == (4, 0.75)
    assert (found["came back, told 60 s"], found["of those let in"]) == (2, 0.0)
    assert found["MiB gained by all"] == 3.0


def test_nothing_happened_is_a_summary_too() -> None:
    assert summary(Flood())["tries"] == 0
