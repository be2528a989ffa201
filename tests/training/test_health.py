"""A run that has collapsed stops, says why, and is not begun again; a healthy one is left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ladd_ray.config import Config, HealthConfig, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.training import launch, worker
from ladd_ray.training.collapse import CollapsedRunError, reported_collapse, require_no_collapse
from ladd_ray.training.health import (
    DEAD_HINGE,
    DEAD_STUDENT,
    JUDGE_WON,
    UNDECIDED,
    CollapseError,
    Gates,
    Symptom,
)
from ladd_ray.training.run_folder import RunFolder
from tests.training.runs import history, train

HEALTHY = {
    "discriminator/accuracy": 0.6, "discriminator/dead_hinge": 0.1, "student/gradient_norm": 1.0,
}  # fmt: skip
ENGINE = LocalEngine("cpu", total_steps=1)
SYMPTOMS = [
    (JUDGE_WON, {"discriminator/accuracy": 0.99}),
    (DEAD_HINGE, {"discriminator/dead_hinge": 0.97}),
    (DEAD_STUDENT, {"student/gradient_norm": 1e-9}),
    (UNDECIDED, {"discriminator/accuracy": 0.501}),
]


def observed(points: list[dict[str, float]], config: HealthConfig, *, first_step: int = 200) -> list[list[Symptom]]:
    gates = Gates(config)
    return [gates.observe({**HEALTHY, **point}, step=first_step + number) for number, point in enumerate(points)]


@pytest.mark.parametrize(("symptom", "point"), SYMPTOMS, ids=[symptom.name for symptom, _ in SYMPTOMS])
def test_a_symptom_counts_once_after_so_many_points_in_a_row(symptom: Symptom, point: dict[str, float]) -> None:
    found = observed([point, point, {}, point, point, point, point], HealthConfig(patience=3))
    assert found == [[], [], [], [], [], [symptom], []]


def test_a_healthy_run_shows_nothing() -> None:
    assert not any(observed([{}] * 50, HealthConfig(patience=1)))


def test_heads_may_guess_while_they_are_new() -> None:
    points = [{"discriminator/accuracy": 0.5}] * 5
    config = HealthConfig(patience=1, undecided_after=102)
    assert observed(points, config, first_step=100) == [[], [], [], [UNDECIDED], []]


def test_a_point_without_the_metric_neither_counts_nor_forgives() -> None:
    gates = Gates(HealthConfig(patience=2))
    dead = {"student/gradient_norm": 0.0}
    assert [gates.observe(point, step=1) for point in (dead, {}, dead, {}, {})] == [[], [], [DEAD_STUDENT], [], []]


def test_a_fatal_symptom_stops_the_run_and_a_mild_one_warns(caplog: pytest.LogCaptureFixture) -> None:
    won, guessing = ({**HEALTHY, "discriminator/accuracy": accuracy} for accuracy in (1.0, 0.5))
    with caplog.at_level(logging.WARNING):
        Gates(HealthConfig(patience=1)).check(guessing, ENGINE, step=500)
        Gates(HealthConfig(patience=1, stop=False)).check(won, ENGINE, step=501)
    messages = [record.getMessage() for record in caplog.records]
    assert "step 500: the judge only guesses" in messages[0] and "noise.renoise_mean" in messages[0]
    assert "step 501: the judge has won" in messages[1] and "discriminator.lr" in messages[1]
    with pytest.raises(CollapseError, match="collapsed at step 7: the judge has won"):
        Gates(HealthConfig(patience=1)).check(won, ENGINE, step=7)


@pytest.fixture
def collapsing(config: Config) -> Config:
    """Heads so quick and a student so slow that the heads know every token within some steps."""
    return override(
        config,
        {
            "run.steps": 120,
            "run.checkpoint_every": 1000,
            "discriminator.lr": 2e-2,
            "discriminator.width": 32,
            "student.lr": 1e-9,
            "noise.renoise_mean": -5.0,
            "health.patience": 2,
            "health.max_accuracy": 0.9,
        },
    )


@pytest.mark.slow
def test_a_run_that_collapses_stops(collapsing: Config, latents: Path) -> None:
    with pytest.raises(CollapseError) as caught:
        train(collapsing, latents)
    assert caught.value.symptom is JUDGE_WON
    points = history(collapsing).read()
    assert [point["discriminator/accuracy"] > 0.9 for point in points[-2:]] == [True] * 2
    assert points[-1]["step"] == caught.value.step < 120
    assert points[-1]["health/head_1/accuracy"] > 0.8


@pytest.mark.slow
def test_the_same_run_with_the_gates_open_goes_on(collapsing: Config, latents: Path) -> None:
    train(override(collapsing, {"health.stop": False, "run.steps": 60}), latents)
    points = history(collapsing).read()
    assert len(points) == 60
    assert max(point["discriminator/accuracy"] for point in points) > 0.9


class Terminated:
    """A tracker that remembers how the run ended."""

    run_id = None

    def __init__(self, config: Config, *, step: int, run_id: str | None) -> None:
        self.lines, self.artifacts = history(config), []
        self.failed: bool | None = None
        TRACKERS.append(self)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append(metrics, step)

    def log_artifacts(self, paths: list[Path]) -> None:
        self.artifacts += [path.name for path in paths]

    def finish(self, *, failed: bool = False) -> None:
        self.failed = failed


TRACKERS: list[Terminated] = []


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Terminated]]:
    """Those that the run has made."""
    monkeypatch.setattr(worker, "MlflowTracker", Terminated)
    yield TRACKERS
    TRACKERS.clear()


@pytest.mark.slow
def test_a_collapsed_run_leaves_a_report_and_no_export(
    collapsing: Config, latents: Path, trackers: list[Terminated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_latents", lambda plan: latents)
    with pytest.raises(CollapsedRunError) as caught:
        launch.run(collapsing)
    folder = RunFolder(collapsing.run_directory)
    report = folder.path / "collapse.md"
    assert str(report) in str(caught.value) and "the judge has won" in str(caught.value)
    text = report.read_text()
    assert text.startswith("# The run collapsed at step ")
    for part in ("| head_0 |", "| sigma_0_0.25 |", "`discriminator.lr`", "`run.name`"):
        assert part in text, part
    assert (folder.path / "curves.png").stat().st_size > 1000
    assert not folder.export.exists() and not folder.metrics.exists()
    assert [(tracker.failed, tracker.artifacts) for tracker in trackers] == [(True, ["collapse.md", "curves.png"])]


def test_the_report_of_an_earlier_attempt_goes(config: Config, trackers: list[Terminated]) -> None:
    folder = RunFolder(config.run_directory)
    folder.path.mkdir(parents=True)
    (folder.path / "collapse.md").write_text("# The run collapsed\n")
    with pytest.raises(CollapsedRunError, match=r"The run collapsed\. What was seen"):
        require_no_collapse(folder)
    with reported_collapse(folder, Terminated(config, step=0, run_id=None), rank=0):
        pass
    require_no_collapse(folder)
