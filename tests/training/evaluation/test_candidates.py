"""From what the user names to what draws: folders, names, roles, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ladd_ray.models.embedded import committed_model, committed_student
from ladd_ray.training.evaluation.candidates import contenders_of, find_candidates, pipeline_folder, untrained
from tests.training.evaluation.conftest import Configure


def test_a_run_its_export_a_pipeline_and_the_embedded_model_are_found(run_folder: Path, tiny_folder: Path) -> None:
    assert pipeline_folder(str(run_folder)) == pipeline_folder(str(run_folder / "export")) == str(run_folder / "export")
    assert pipeline_folder(str(tiny_folder)) == str(tiny_folder)
    assert pipeline_folder("stickers") == str(committed_model())
    assert pipeline_folder("stickers-turbo") == str(committed_student())
    assert pipeline_folder("nobody/nothing") == "nobody/nothing"


def test_a_continued_training_leaves_a_pipeline(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "tasks" / "pipeline")
    assert pipeline_folder(str(tmp_path / "tasks")) == str(tmp_path / "tasks" / "pipeline")


def test_unfinished_runs_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ValueError, match="checkpoints only: finish the run"):
        pipeline_folder(str(tmp_path / "half"))
    with pytest.raises(ValueError, match="no model folder"):
        pipeline_folder(str(tmp_path / "nothing"))


def test_an_export_is_a_student_and_another_folder_a_teacher(
    configure: Configure, run_folder: Path, tiny_folder: Path
) -> None:
    student, teacher = find_candidates(configure(run_folder, tiny_folder), fetch=True)
    assert (student.role, student.name, student.levels) == ("student", "my-run", (1.0, 0.75, 0.5, 0.25))
    assert (teacher.role, teacher.shift) == ("teacher", 1.0)
    assert student.fingerprint != teacher.fingerprint


def test_roles_can_be_chosen(configure: Configure, run_folder: Path, tiny_folder: Path) -> None:
    config = configure(run_folder, tiny_folder, roles=("teacher", "student"), student__levels=(1.0, 0.5))
    teacher, student = find_candidates(config, fetch=True)
    assert (teacher.role, student.role, student.levels) == ("teacher", "student", (1.0, 0.5))


def test_contenders_draw_as_the_configuration_says(configure: Configure, run_folder: Path, tiny_folder: Path) -> None:
    config = configure(run_folder, tiny_folder, teacher__shift=2.0)
    student, teacher = find_candidates(config, fetch=True)
    one, two = contenders_of(student, config)
    assert (one.name, one.label, two.label) == ("my-run/student_1", "my-run, 1 step", "my-run, 2 steps")
    assert (two.num_inference_steps, two.guidance_scale, two.seed) == (2, None, config.seed)
    (guided,) = contenders_of(teacher, config)
    assert (guided.guidance_scale, guided.shift, guided.num_inference_steps) == (3.0, 2.0, 2)
    assert untrained(two).untrained and untrained(two).levels == two.levels


def test_models_of_one_name_are_told_apart(configure: Configure, run_folder: Path) -> None:
    config = configure(run_folder, run_folder / "export")
    assert [candidate.name for candidate in find_candidates(config, fetch=True)] == ["my-run 1", "my-run 2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student__steps": (1, 5)}, "goes beyond the 4 trained levels"),
        ({"sizes": ((64, 512),)}, "must not exceed 256"),
    ],
)
def test_what_a_student_cannot_draw_is_refused(configure: Configure, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_candidates(configure(**changes), fetch=True)


def test_a_teacher_is_no_student_without_levels(configure: Configure, tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"set student\.levels, or its role to teacher"):
        find_candidates(configure(tiny_folder, roles=("student",)), fetch=True)


def test_another_family_is_refused(configure: Configure, tiny_folder: Path, tmp_path: Path) -> None:
    index = json.loads((tiny_folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"transformer": ["diffusers", "FluxTransformer"]}))
    with pytest.raises(ValueError, match="only the Stable Diffusion 3 family"):
        find_candidates(configure(tmp_path), fetch=True)


def test_a_hub_name_is_not_fetched_for_a_dry_run(configure: Configure) -> None:
    (candidate,) = find_candidates(configure("nobody/nothing"), fetch=False)
    assert (candidate.fingerprint, candidate.role) == ("nobody/nothing", "teacher")
