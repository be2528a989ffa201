"""A whole comparison in this process: tiny models, the real methods, the real judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ladd_ray.compare_config import CompareConfig
from ladd_ray.config import Config
from ladd_ray.tracking import LocalHistory
from ladd_ray.training import launch, worker
from ladd_ray.training.comparison import scoring
from ladd_ray.training.comparison.bench import LocalBench
from ladd_ray.training.comparison.launch import compare
from ladd_ray.training.comparison.plan import Trainee, prepare_comparison
from ladd_ray.training.comparison.processes import Lab, ProcessBench, TrainingError, train_apart
from tests.training.comparison.conftest import Configure
from tests.training.pictures import write_latents
from tests.training.runs import HistoryTracker
from tests.training.test_report import CornerFeatures

pytestmark = pytest.mark.slow
PROMPT_TOKENS = 13
"""Of the tiny model: 12 of its text towers, and one silent one."""
HERE = Lab(bench=LocalBench, train=launch.train)
NOWHERE = Lab(
    bench=lambda config, latents: pytest.fail(f"{config.run.name} is timed"),
    train=lambda config: pytest.fail(f"{config.run.name} is trained"),
)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MLflow's database, and with a feature network of a few lines."""

    def tracker(config: Config, *, step: int, run_id: str | None) -> HistoryTracker:
        return HistoryTracker(LocalHistory(config.run_directory / "metrics.jsonl"))

    monkeypatch.setattr(worker, "MlflowTracker", tracker)
    monkeypatch.setattr(scoring, "EffNetLite0Features", CornerFeatures)


def ready(config: CompareConfig) -> CompareConfig:
    """The same, whose latents lie ready: a random teacher draws nothing that a run would take for pictures."""
    for arm in prepare_comparison(config).arms.values():
        if not arm.latents.is_dir():
            write_latents(arm.latents, arm.provenance, prompt_tokens=PROMPT_TOKENS)
    return config


def results(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return document


def test_methods_are_trained_scored_and_found_again(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = compare(ready(configure()), lab=HERE)
    document = results(folder)
    assert set(document["arms"]) == {"ladd", "add", "lcm"}
    for name, arm in document["arms"].items():
        assert arm["steps"] == max(int(1.0 / arm["seconds_per_step"]), 1)
        lines = LocalHistory(folder / "runs" / f"{name}-seed0" / "metrics.jsonl").read()
        assert lines[-1]["step"] == arm["steps"]
        assert arm["seconds"]["0"] > 0 and arm["peak_memory"] > 1e8
        assert {steps: list(by_seed) for steps, by_seed in arm["scores"].items()} == {"1": ["0"], "4": ["0"]}
        assert not (folder / "runs" / f"{name}-seed0" / "checkpoints").exists()
    scores = [arm["scores"]["4"]["0"]["kid_real"] for arm in document["arms"].values()]
    assert len({document["teacher"]["kid_real"], *scores}) == 4
    assert document["failed"] == []
    assert "better than LCM. Here: 1 step" in (folder / "table.md").read_text()
    for name in ("compare.png", "sheet.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 500

    monkeypatch.setattr(scoring, "paint", lambda *contenders: pytest.fail("pictures are drawn again"))
    assert compare(configure(), lab=NOWHERE) == folder
    assert results(folder) == document


def test_further_seeds_join_and_failures_are_told(configure: Configure) -> None:
    small = {"studies": ("data",), "student_steps": (1,)}
    first = results(compare(ready(configure(**small)), lab=HERE))

    def train_some(config: Config) -> None:
        if config.run.name == "real-seed1":
            raise TrainingError("real-seed1 ended with code 1")
        assert config.run.seed == 1
        launch.train(config)

    folder = compare(configure(**small, seeds=(0, 1)), lab=Lab(bench=NOWHERE.bench, train=train_some))
    document = results(folder)
    assert document["failed"] == ["real-seed1"]
    assert "missing: real-seed1" in (folder / "table.md").read_text()
    assert set(document["arms"]["ladd"]["scores"]["1"]) == {"0", "1"}
    assert document["arms"]["real"]["scores"] == first["arms"]["real"]["scores"]
    assert document["arms"]["ladd"]["scores"]["1"]["0"] == first["arms"]["ladd"]["scores"]["1"]["0"]
    assert document["protocol"] == first["protocol"]


class Still:
    """A bench whose clock never moves far."""

    def step(self) -> float:
        return 0.5

    def close(self) -> int:
        return 1


def test_workers_draw_latents_and_a_comparison_without_any_run_says_so(cluster: None, configure: Configure) -> None:
    def fail(config: Config) -> None:
        assert Path(str(config.data.latents)).is_dir()
        assert (config.run.steps, config.run.num_workers) == (2, 0)
        raise TrainingError(config.run.name)

    with pytest.raises(ValueError, match="no arm could be trained"):
        compare(configure(run__num_workers=2), lab=Lab(bench=lambda config, latents: Still(), train=fail))


@pytest.fixture
def run(configure: Configure) -> tuple[Config, Path]:
    """A configuration of a run, with the latents that it wants."""
    plan = prepare_comparison(ready(configure()))
    return plan.run_config(Trainee("ladd", 0), steps=3), plan.arms["ladd"].latents


def test_another_process_takes_steps_when_told_and_trains(run: tuple[Config, Path]) -> None:
    config, latents = run
    bench = ProcessBench(config, latents)
    assert all(0 < bench.step() < 60 for _ in range(3))
    assert 1e8 < bench.close() < 1e10
    train_apart(config)
    assert (config.run_directory / "export" / "model_index.json").is_file()


def test_a_process_that_dies_is_an_error(run: tuple[Config, Path], tmp_path: Path) -> None:
    config, _ = run
    bench = ProcessBench(config, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="ladd-seed0 could not be timed"):
        bench.step()
    broken = config.model_copy(update={"data": config.data.model_copy(update={"latents": str(tmp_path)})})
    with pytest.raises(TrainingError, match="ladd-seed0 ended with code 1"):
        train_apart(broken)
