"""The evaluation on two Ray workers draws and scores what one process does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ladd_ray.training.evaluation import rows
from ladd_ray.training.evaluation.job import evaluate_models
from tests.training.evaluation.conftest import Configure
from tests.training.test_report import CornerFeatures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_two_workers_score_what_one_process_scores(
    cluster: None, configure: Configure, wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EffNetLite0Features", CornerFeatures)
    results: list[dict[str, Any]] = []
    for workers in (0, 2):
        config = configure(
            wide_run, run__num_workers=workers, num_edits=5, num_inpaints=5, output=str(tmp_path / str(workers))
        )
        results.append(json.loads((evaluate_models(config) / "results.json").read_text()))
    here, there = results
    for document in (here, there, *here["tasks"].values(), *there["tasks"].values()):
        for row in document["scores"].values():
            assert row.pop("latency", {"alone": 1})["alone"] > 0
    assert list(here["scores"]) == list(there["scores"])
    assert here["scores"] == there["scores"]
    assert list(here["tasks"]) == ["edit", "inpaint"]
    assert here["tasks"] == there["tasks"]
