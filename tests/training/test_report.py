"""The evaluation of a finished run in this process, on a handful of tiny pictures with stub features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.config import Config, override
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.training import report
from ladd_ray.training.painting import Contender, Painter
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.run_folder import RunFolder
from tests.training.runs import history, tiny_config

DRAWN = 8 + 2 * 2
SCORED = {
    "teacher_guided",
    "teacher_unguided_4",
    "untrained_student_4",
    "student_1",
    "student_2",
    "student_4",
}
PROTOCOL_CHANGES: list[tuple[dict[str, object], bool]] = [
    ({"evaluation.batch_size": 5}, True),
    ({"student.lr": 1.0}, True),
    ({"evaluation.seed": 1}, False),
    ({"data.guidance_scale": 5.0}, False),
    ({"data.height": 128}, False),
]


class CornerFeatures:
    """Stands for the feature network: the mean colours of sixteen squares."""

    name = "corners"

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(images).float().unflatten(1, (4, -1)).unflatten(3, (4, -1))
        return pixels.mean(dim=(2, 4)).flatten(1) / 255


class Recorder:
    """Stands for MLflow."""

    seen: dict[str, Any]

    def __init__(self, config: Config, *, step: int) -> None:
        Recorder.seen = {"step": step}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.seen["metrics"] = metrics

    def log_artifacts(self, paths: list[Path]) -> None:
        self.seen["artifacts"] = [path.name for path in paths if path.is_file()]

    def finish(self) -> None:
        self.seen["finished"] = True


def finished_run(tiny_folder: Path, directory: Path) -> tuple[Plan, RunFolder]:
    """What the evaluation finds: a student that is not its teacher, and a history."""
    plan = prepare(tiny_config(tiny_folder, directory))
    folder = RunFolder(plan.config.run_directory)
    folder.path.mkdir(parents=True)
    (folder.path / "config.json").write_text("{}")
    weights = load_transformer(tiny_folder, precision="fp32").state_dict()
    moved = {name: 1.1 * weight for name, weight in weights.items()}
    export_pipeline(tiny_folder, moved, folder.export, levels=plan.config.noise.levels, provenance={})
    losses = {"student/loss": 0.1, "discriminator/loss": 2.0, "throughput/images_per_second": 9.0}
    for step in range(1, 4):
        history(plan.config).append(losses, step)
    return plan, folder


@pytest.fixture(scope="module")
def evaluated(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, RunFolder]:
    """A run that was evaluated once."""
    plan, folder = finished_run(tiny_folder, tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "EffNetLite0Features", CornerFeatures)
        patch.setattr(report, "MlflowTracker", Recorder)
        report.evaluate(plan, folder)
    return plan, folder


def metrics(folder: RunFolder) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(folder.metrics.read_text())
    return document


def test_every_contender_is_scored(evaluated: tuple[Plan, RunFolder]) -> None:
    document = metrics(evaluated[1])
    assert document.keys() == {"protocol", "labels", "kid_floor", "scores", "tasks"}
    assert document["tasks"] == {}
    assert document["scores"].keys() == document["labels"].keys() == SCORED
    for scores in document["scores"].values():
        assert np.isfinite([scores["kid"]["value"], scores["diversity"]["value"]]).all()
    assert document["scores"]["teacher_guided"]["diversity"]["relative_to_teacher"] == 1.0
    assert document["labels"]["student_1"] == "student, 1 step"
    assert document["labels"]["teacher_guided"] == "teacher, 2 steps, guidance 3"


def test_protocol_says_how_and_its_hash_follows(
    evaluated: tuple[Plan, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = evaluated
    monkeypatch.setattr(report, "EffNetLite0Features", CornerFeatures)
    found = metrics(folder)["protocol"]
    assert (found["features"], found["teacher"]) == (CornerFeatures.name, plan.teacher)
    samples = report.evaluation_samples(plan.config)
    assert report.protocol(plan.config, plan, samples)["hash"] == found["hash"]
    other_shift = replace(plan, provenance=replace(plan.provenance, shift=3.0))
    assert report.protocol(plan.config, other_shift, samples)["hash"] != found["hash"]
    for change, equal in PROTOCOL_CHANGES:
        assert (report.protocol(override(plan.config, change), plan, samples)["hash"] == found["hash"]) == equal, change


def test_pictures_are_written(evaluated: tuple[Plan, RunFolder]) -> None:
    for name in ("samples.png", "curves.png"):
        with Image.open(evaluated[1].path / name) as image:
            assert min(image.size) >= 64
            assert len(set(image.convert("L").resize((32, 32)).tobytes())) > 5, f"{name} is empty"


def test_scores_and_pictures_are_tracked(evaluated: tuple[Plan, RunFolder]) -> None:
    seen = Recorder.seen
    assert seen["step"] == evaluated[0].config.run.steps
    assert seen["metrics"].keys() == {f"evaluation/{name}/{kind}" for name in SCORED for kind in ("kid", "diversity")}
    assert seen["artifacts"] == ["samples.png", "curves.png", "metrics.json", "config.json"]
    assert seen["finished"]


def test_table_has_a_row_for_each(evaluated: tuple[Plan, RunFolder]) -> None:
    lines = report.table(metrics(evaluated[1])).splitlines()
    assert lines[0].startswith("KID-EffNetLite0 to 8 guided teacher images")
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]] == list(
        metrics(evaluated[1])["labels"].values()
    )


def test_diversity_prompts_come_once_for_each_seed_and_noise_never_twice(evaluated: tuple[Plan, RunFolder]) -> None:
    samples = report.evaluation_samples(evaluated[0].config)
    prompts = [sample.prompt for sample in samples]
    assert prompts[8:] == [prompts[0]] * 2 + [prompts[1]] * 2
    assert [sample.number for sample in samples] == list(range(DRAWN))
    assert {(sample.height, sample.width) for sample in samples} == {(64, 64)}


def players(evaluated: tuple[Plan, RunFolder]) -> dict[str, Contender]:
    """Everybody who draws, by name."""
    plan, folder = evaluated
    found = report.contenders(plan.config, student=str(folder.export), shift=plan.provenance.shift)
    return {player.name: player for player in found}


@pytest.fixture(scope="module")
def painted(evaluated: tuple[Plan, RunFolder]) -> dict[str, NDArray[np.uint8]]:
    """Two pictures of every contender."""
    config = evaluated[0].config
    painter = Painter(report.crew(config))
    samples = report.evaluation_samples(config)[:2]
    return {name: painter.paint(player, samples) for name, player in players(evaluated).items()}


def test_contenders_draw_different_pictures(painted: dict[str, NDArray[np.uint8]]) -> None:
    assert painted.keys() == SCORED | {"reference"}
    assert {(images.shape, images.dtype) for images in painted.values()} == {((2, 64, 64, 3), np.dtype(np.uint8))}
    assert len({images.tobytes() for images in painted.values()}) == len(painted)


def test_the_untrained_student_is_the_teacher_under_the_students_sampler(
    evaluated: tuple[Plan, RunFolder], painted: dict[str, NDArray[np.uint8]]
) -> None:
    """An export of the teacher's own weights draws what the untrained student draws."""
    config = evaluated[0].config
    student = replace(players(evaluated)["student_4"], model=config.teacher.path)
    images = Painter(report.crew(config)).paint(student, report.evaluation_samples(config)[:2])
    assert np.array_equal(images, painted["untrained_student_4"])
