"""A whole evaluation of a model that edits and inpaints, in this process: tables, results and sheets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ladd_ray.config import override
from ladd_ray.evaluate_config import EvaluateConfig
from ladd_ray.training.evaluation import rows
from ladd_ray.training.evaluation.job import evaluate_models
from tests.training.evaluation.conftest import SMALL
from tests.training.test_report import CornerFeatures

TRIED = {**SMALL, "num_edits": 5, "num_inpaints": 4, "scores": ("judge", "latency")}
MODELS = ["wide-run, 1 step", "wide-run, 2 steps", "wide-run, 2 steps, untrained"]
LABELS = {
    "edit": ["untouched source", "exact target", "target, through the autoencoder", *MODELS],
    "inpaint": ["untouched hole", "exact original", "original, through the autoencoder", *MODELS],
}


@pytest.fixture(scope="module")
def config(wide_run: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateConfig:
    config = EvaluateConfig(models=(str(wide_run),), output=str(tmp_path_factory.mktemp("results")))
    return override(config, TRIED)


@pytest.fixture(scope="module")
def folder(config: EvaluateConfig) -> Path:
    """A finished evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "EffNetLite0Features", CornerFeatures)
        return evaluate_models(config)


@pytest.fixture(scope="module")
def tasks(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())["tasks"]
    return document


def tables(text: str) -> list[list[str]]:
    """Labels of every table, without its head."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("| sampler"):
            found.append([])
        elif line.startswith("| "):
            found[-1].append(line.split(" | ")[0].removeprefix("| "))
    return found


def test_every_task_has_its_rows_between_ceiling_and_floor(tasks: dict[str, Any]) -> None:
    assert {task: list(results["labels"].values()) for task, results in tasks.items()} == LABELS
    edits = {name: scores["edit"] for name, scores in tasks["edit"]["scores"].items()}
    assert [edits[name]["success"]["value"] for name in ("exact", "untouched", "untrained")] == [1, 0, 0]
    assert edits["exact"]["rest_psnr"] == edits["untouched"]["rest_psnr"] == 60 > edits["reconstruction"]["rest_psnr"]
    assert edits["exact"]["feature_distance"] == pytest.approx(0, abs=1e-9)
    assert edits["untouched"]["feature_distance"] == edits["untouched"]["source_distance"] > 0
    assert sum(part["n"] for part in edits["exact"]["by_kind"].values()) == 5
    fills = {name: scores["inpaint"] for name, scores in tasks["inpaint"]["scores"].items()}
    assert fills["exact"]["success"]["value"] == 1
    assert all(score["rest_difference"] == 0 for score in fills.values())


def test_models_are_timed_at_every_task(tasks: dict[str, Any]) -> None:
    for results in tasks.values():
        timed = {name: row["latency"]["in_batch"] for name, row in results["scores"].items() if "latency" in row}
        assert list(timed) == ["wide-run/student_1", "wide-run/student_2"]
        assert min(timed.values()) > 0


def test_models_draw_something_of_their_own(tasks: dict[str, Any]) -> None:
    distances = [scores["edit"]["feature_distance"] for scores in tasks["edit"]["scores"].values()]
    assert len(set(distances)) == len(distances)


def test_tables_and_sheets_lie_beside(folder: Path, tasks: dict[str, Any]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "edits.png", "fills.png", "results.json", "samples.png", "table.md",
    ]  # fmt: skip
    text = (folder / "table.md").read_text()
    assert "## Editing" in text and "## Inpainting" in text
    generated, edited, filled, sized = tables(text)
    assert [edited, filled] == list(LABELS.values())
    assert sized == [*generated, *edited, *filled]
    assert f"5 pictures in each set, protocol {tasks['edit']['protocol']['hash']}." in text
    sheets = [Image.open(folder / name).size for name in ("edits.png", "fills.png")]
    assert sheets[0][0] == sheets[1][0] and min(height for _, height in sheets) > 6 * 128


def test_the_same_settings_score_the_same_and_join_by_task(
    config: EvaluateConfig, folder: Path, tasks: dict[str, Any], run_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In batches of another size; rows of an evaluation that only generates join the first table alone."""
    monkeypatch.setattr(rows, "EffNetLite0Features", CornerFeatures)
    narrow = {"models": (str(run_folder),), "output": str(tmp_path / "narrow"), "num_edits": 0, "num_inpaints": 0}
    evaluate_models(override(config, narrow))
    joined = {
        "output": str(tmp_path / "joined"), "compare_with": (str(folder), str(tmp_path / "narrow")),
        "num_edits": 5, "num_inpaints": 0, "run.batch_size": 5, "scores": ("judge",),
    }  # fmt: skip
    again = evaluate_models(override(config, joined))
    generated, edited, _ = tables((again / "table.md").read_text())
    assert "my-run, 2 steps" in generated
    assert edited == LABELS["edit"]
    scores = json.loads((again / "results.json").read_text())["tasks"]["edit"]["scores"]
    assert {name: row["edit"]["success"] for name, row in scores.items()} == {
        name: row["edit"]["success"] for name, row in tasks["edit"]["scores"].items()
    }


def test_earlier_edits_under_another_protocol_are_refused(config: EvaluateConfig, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)Editing in .*image_guidance: 1\.5 there, 2\.0 here"):
        evaluate_models(override(config, {"teacher.image_guidance_scale": 2.0}))
