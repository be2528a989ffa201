"""A whole evaluation in this process, by the real judge and stand-ins for the feature network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ladd_ray.config import override
from ladd_ray.evaluate_config import EvaluateConfig
from ladd_ray.training.evaluation import rows
from ladd_ray.training.evaluation.job import evaluate_models
from tests.training.evaluation.conftest import SMALL
from tests.training.test_report import CornerFeatures

ROWS = {
    "real": "real pictures",
    "reconstruction": "real, through the autoencoder",
    "my-run/student_1": "my-run, 1 step",
    "my-run/student_2": "my-run, 2 steps",
    "untrained": "my-run, 2 steps, untrained",
    "shuffled_prompts": "my-run, 2 steps, shuffled prompts",
}
DISTANCES = {"kid", "fid", "precision_recall"}


@pytest.fixture(scope="module")
def config(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateConfig:
    config = EvaluateConfig(models=(str(run_folder),), output=str(tmp_path_factory.mktemp("results")))
    return override(config, SMALL)


@pytest.fixture(scope="module")
def folder(config: EvaluateConfig) -> Path:
    """A finished evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "EffNetLite0Features", CornerFeatures)
        return evaluate_models(config)


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return document


def test_every_row_has_the_scores_that_apply_to_it(results: dict[str, Any]) -> None:
    assert results["labels"] == ROWS
    drawn = DISTANCES | {"judge", "diversity"}
    assert {name: set(scores) for name, scores in results["scores"].items()} == {
        "real": DISTANCES | {"judge"},
        "reconstruction": DISTANCES | {"judge"},
        "my-run/student_1": drawn | {"latency"},
        "my-run/student_2": drawn | {"latency"},
        "untrained": drawn,
        "shuffled_prompts": {"judge"},
    }
    assert list(results["scores"]) == list(ROWS)


def test_what_is_real_scores_high_and_what_knows_nothing_at_chance(results: dict[str, Any]) -> None:
    overall = {name: scores["judge"]["overall"] for name, scores in results["scores"].items()}
    assert overall["real"] == 1.0
    # The tiny autoencoder is random: nothing can be seen through it, nor in what a random student draws.
    assert all(overall[name] <= 0.2 for name in ("reconstruction", "untrained", "shuffled_prompts"))
    kid = {name: scores["kid"]["value"] for name, scores in results["scores"].items() if "kid" in scores}
    assert all(kid["real"] < value for name, value in kid.items() if name != "real")


def test_latencies_name_batch_and_machine(results: dict[str, Any]) -> None:
    latency = results["scores"]["my-run/student_2"]["latency"]
    assert latency["alone"] > 0 and latency["in_batch"] > 0
    assert (latency["batch_size"], latency["height"], latency["width"]) == (4, 64, 64)
    assert latency["machine"].endswith(", 1 thread")


def test_results_say_what_was_scored_and_no_path(results: dict[str, Any], run_folder: Path) -> None:
    assert results["models"]["my-run"]["role"] == "student"
    assert len(results["models"]["my-run"]["fingerprint"]) == 16
    assert len(results["protocol"]["hash"]) == 16
    assert results["kid_floor"]["num_pictures"] == 6
    assert str(run_folder.parent) not in json.dumps(results)


def test_the_table_and_the_pictures_lie_beside(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["results.json", "samples.png", "table.md"]
    lines = (folder / "table.md").read_text().splitlines()
    labels = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert labels == ["sampler", *ROWS.values()] * 2
    with Image.open(folder / "samples.png") as sheet:
        pixels = np.asarray(sheet)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


def test_another_model_is_compared_with_the_earlier_results(
    config: EvaluateConfig, folder: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher with some scores only; the real pictures come once."""
    monkeypatch.setattr(rows, "EffNetLite0Features", CornerFeatures)
    changes = {
        "models": (str(tiny_folder),),
        "output": str(tmp_path / "other"),
        "compare_with": (str(folder),),
        "scores": ("judge", "diversity", "kid"),
    }
    table = (evaluate_models(override(config, changes)) / "table.md").read_text()
    labels = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    own = f"{tiny_folder.parent.name}, 2 steps, guidance 3"
    ours = ["real pictures", "real, through the autoencoder", own, f"{own}, untrained", f"{own}, shuffled prompts"]
    assert labels == ["sampler", *ours, *list(ROWS.values())[2:]] * 2


def test_prompts_without_a_world_are_scored_against_a_folder(
    config: EvaluateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EffNetLite0Features", CornerFeatures)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red apple\na cat\n")
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 90, 120)).save(tmp_path / f"{number}.png")
    changes = {"prompts": str(prompts), "reference": str(tmp_path), "scores": ("kid",), "output": str(tmp_path / "out")}
    document = json.loads((evaluate_models(override(config, changes)) / "results.json").read_text())
    assert list(document["scores"]) == ["my-run/student_1", "my-run/student_2", "untrained"]
    assert all(set(scores) == {"kid"} for scores in document["scores"].values())
