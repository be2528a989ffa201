"""The evaluation of a student of three tasks with guidance knobs, on a handful of tiny pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ladd_ray.config import Config, override
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.student import silent_embedding
from ladd_ray.models.widening import widen
from ladd_ray.training import report
from ladd_ray.training.knobs import guidance_knobs
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.task_report import find_trials
from tests.training.runs import history, tiny_config
from tests.training.test_report import CornerFeatures, Recorder

DRAWN = {"teacher_guided", "untrained_student_4", "student_1", "student_2", "student_4"}
CHANGES = {
    "student__guidance_knobs": True,
    "data__guidance_range": (1.5, 6.0),
    "data__image_guidance_range": (1.0, 2.5),
    "data__tasks": {"generate": 0.4, "edit": 0.4, "inpaint": 0.2},
    "evaluation__num_exercises": 4,
    "evaluation__num_knob_edits": 3,
    "evaluation__num_knob_settings": 3,
}


def moved(denoiser: SD3Denoiser) -> dict[str, torch.Tensor]:
    """As after training: no weight is where it was."""
    generator = torch.Generator().manual_seed(0)
    state = denoiser.state_dict()
    return {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}


@pytest.fixture(scope="module")
def evaluated(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, RunFolder]:
    """A run that was evaluated once."""
    root = tmp_path_factory.mktemp("runs")
    transformer = widen(load_transformer(tiny_folder, precision="fp32"))
    teacher = export_pipeline(
        tiny_folder, moved(SD3Denoiser(transformer)), root / "teacher", levels=None, provenance={}
    )
    plan = prepare(tiny_config(teacher, root, **CHANGES))
    knobs, folder = guidance_knobs(plan.config), RunFolder(plan.config.run_directory)
    assert knobs is not None
    folder.path.mkdir(parents=True)
    (folder.path / "config.json").write_text("{}")
    student = SD3Denoiser(transformer, strengths=silent_embedding(transformer, knobs, seed=0))
    export_pipeline(teacher, moved(student), folder.export, levels=plan.config.noise.levels, provenance={}, knobs=knobs)
    history(plan.config).append({"student/loss": 0.1}, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "EffNetLite0Features", CornerFeatures)
        patch.setattr(report, "MlflowTracker", Recorder)
        report.evaluate(plan, folder)
    return plan, folder


@pytest.fixture(scope="module")
def document(evaluated: tuple[Plan, RunFolder]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evaluated[1].metrics.read_text())
    return found


def test_edits_and_fills_of_every_player_are_scored(document: dict[str, Any]) -> None:
    assert list(document["tasks"]) == ["edit", "inpaint"]
    for task, results in document["tasks"].items():
        assert results["scores"].keys() == results["labels"].keys() == DRAWN | {"untouched"}
        assert results["protocol"]["num_images"] == 4
        for scores in results["scores"].values():
            assert scores[task]["success"]["n"] == 4
    labels = document["tasks"]["edit"]["labels"]
    assert labels["teacher_guided"] == "teacher, 2 steps, guidance 3, image guidance 1.5"
    assert document["tasks"]["inpaint"]["labels"]["teacher_guided"] == "teacher, 2 steps, guidance 3"
    assert document["tasks"]["inpaint"]["scores"]["student_1"]["inpaint"]["rest_difference"] == 0
    assert document["tasks"]["edit"]["protocol"]["hash"] != document["tasks"]["inpaint"]["protocol"]["hash"]


def test_each_task_has_a_sheet(evaluated: tuple[Plan, RunFolder]) -> None:
    for name in ("edits.png", "fills.png"):
        with Image.open(evaluated[1].path / name) as image:
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 20, f"{name} is empty"
    assert {"edits.png", "fills.png"} <= set(Recorder.seen["artifacts"])


def test_knobs_are_turned_through_their_range(document: dict[str, Any]) -> None:
    assert list(document["knobs"]) == ["text", "image"]
    text, image = document["knobs"]["text"], document["knobs"]["image"]
    assert text["student"]["strengths"] == text["teacher"]["strengths"] == [1.5, 3.75, 6.0]
    assert image["student"]["strengths"] == [1.0, 1.75, 2.5]
    assert len(set(image["student"]["effects"])) == len(set(image["teacher"]["effects"])) == 3
    assert -1 <= image["agreement"] <= 1


def test_table_and_tracker_tell_of_tasks_and_knobs(document: dict[str, Any]) -> None:
    text = report.table(document)
    assert "Editing\n\n4 pictures in each set" in text
    assert "Inpainting\n\n4 pictures in each set" in text
    assert "image guidance from 1 to 2.5: rank correlation with its effect" in text
    seen = Recorder.seen["metrics"]
    assert {"evaluation/student_4/edit", "evaluation/student_4/inpaint", "evaluation/knobs/image"} <= seen.keys()


def test_the_teacher_stands_where_the_knobs_rest(evaluated: tuple[Plan, RunFolder]) -> None:
    plan, _ = evaluated
    stronger = override(plan.config, {"data.guidance_range": (4.0, 6.0), "data.image_guidance_range": (2.0, 2.5)})
    players = {player.name: player for player in report.contenders(stronger, student="", shift=1.0)}
    assert players["teacher_guided"].guidance_scale == 4
    assert "at guidance 4," in report.protocol(stronger, plan, [])["reference"]
    (edits,) = find_trials(override(stronger, {"data.tasks.inpaint": 0.0}), [players["teacher_guided"]])
    assert edits.contenders[0].image_guidance_scale == 2


def test_tasks_that_were_not_trained_are_not_asked(evaluated: tuple[Plan, RunFolder]) -> None:
    plan, folder = evaluated
    config = plan.config.model_copy(update={"data": plan.config.data.model_copy(update={"tasks": Config().data.tasks})})
    players = report.contenders(config, student=str(folder.export), shift=1.0)
    assert report.further_scores(config, players, folder) == {"tasks": {}}
