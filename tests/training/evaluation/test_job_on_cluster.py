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
    cluster: None, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EffNetLite0Features", CornerFeatures)
    scores: list[dict[str, Any]] = []
    for workers in (0, 2):
        config = configure(run__num_workers=workers, output=str(tmp_path / str(workers)))
        scores.append(json.loads((evaluate_models(config) / "results.json").read_text())["scores"])
    here, there = scores
    for row in (*here.values(), *there.values()):
        assert row.pop("latency", {"alone": 1})["alone"] > 0
    assert list(here) == list(there)
    assert here == there
