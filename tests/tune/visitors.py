"""People who come to the launch page, with a browser that is only a client."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.tune.jobs import PretendedCluster
from tests.tune.records import PLANE, plane_trials, sweep_record, write_sweep
from tune.launching.access import Gate
from tune.launching.app import Workplace, build_app

TOKEN = "0123456789abcdef" * 4
ORDER = {"recipe": "stickers", "space": "search:noise", "name": "mine", "samples": "4", "seeds": "3", "metric": "judge"}
RANGES = {
    "use:noise.renoise_mean": "on", "low:noise.renoise_mean": "-1.5", "high:noise.renoise_mean": "1",
    "use:noise.renoise_std": "on", "low:noise.renoise_std": "0.5", "high:noise.renoise_std": "2",
}  # fmt: skip


def visitor(cluster: PretendedCluster, runs: Path, *, token: str | None = None) -> TestClient:
    workplace = Workplace(cluster, "http://127.0.0.1:8265", runs, Path("/repository"), "python")
    return TestClient(build_app(workplace, Gate(token)), base_url="http://127.0.0.1", follow_redirects=False)


def key_of(text: str) -> str:
    found = re.search(r'name="form_key" value="([0-9a-f]+)"', text)
    assert found
    return found[1]


def send(person: TestClient, fields: dict[str, str], *, path: str = "/", page: str = "/") -> Any:
    return person.post(path, data={"form_key": key_of(person.get(page).text), **fields})


def started(person: TestClient, runs: Path) -> None:
    """Orders a sweep that then has seven trials behind it."""
    assert send(person, {**ORDER, **RANGES}).status_code == 303
    write_sweep(runs / "mine", sweep_record(PLANE, grid=True, name="mine"), plane_trials()[:7])
