"""Schemathesis over the endpoint's own OpenAPI document: whatever comes, the answer is one that is documented.

Its checks: no 5xx, a documented status, content type, schema and headers, no acceptance of what the document forbids,
no way around the key. The thousands of requests are a slow test:

    pytest tests/serve/test_fuzz.py -m slow
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.settings import EndpointSettings
from tests.serve.endpoints import KEY, plain_endpoint

HERE = Path(__file__).parent.resolve()
OPERATIONS = {
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /health",
    "GET /ready",
}


@pytest.fixture(scope="module")
def plain_address(settings: EndpointSettings) -> Iterator[str]:
    with plain_endpoint(settings) as found:
        yield found


def fuzz(address: str, folder: Path, *, phases: str, max_examples: int) -> Counter[tuple[str, int]]:
    """How often each operation gave each status."""
    report = folder / "events.ndjson"
    options = ["--config-file", str(HERE / "fuzz.toml"), "run", f"{address}/openapi.json", "--no-color"]
    options += ["--phases", phases, "--max-examples", str(max_examples), "--report-ndjson-path", str(report)]
    variables = {"SCHEMATHESIS_HOOKS": str(HERE / "fuzz_hooks.py"), "LADD_RAY_FUZZ_KEY": KEY}
    command = [sys.executable, "-m", "schemathesis.cli", *options]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in report.read_text().splitlines()]
    found: Counter[tuple[str, int]] = Counter()
    for scenario in (event["ScenarioFinished"]["recorder"] for event in events if "ScenarioFinished" in event):
        found.update((scenario["label"], status) for status in statuses(scenario))
    return found


def statuses(node: Any) -> Iterator[int]:
    """Of all responses in a report, wherever they are."""
    if isinstance(node, list):
        for item in node:
            yield from statuses(item)
    elif isinstance(node, dict):
        if "status_code" in node:
            yield node["status_code"]
        else:
            yield from statuses(list(node.values()))


def test_hundreds_of_requests_get_documented_answers(plain_address: str, tmp_path: Path) -> None:
    found = fuzz(plain_address, tmp_path, phases="examples,fuzzing", max_examples=60)
    print(found)
    assert found.total() >= 200
    assert {operation for operation, status in found if status == 200} == OPERATIONS
    assert {status for _, status in found} <= {200, 400, 401, 404, 405, 413, 415, 429}


@pytest.mark.slow
def test_thousands_of_requests_get_documented_answers(plain_address: str, tmp_path: Path) -> None:
    found = fuzz(plain_address, tmp_path, phases="examples,coverage,fuzzing", max_examples=350)
    print(found)
    assert found.total() >= 2000
    drawn = sum(count for (operation, status), count in found.items() if "images" in operation and status == 200)
    assert drawn >= 200
