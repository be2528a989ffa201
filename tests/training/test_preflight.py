"""What is refused before anything starts, and what the plan says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ladd_ray.config import Config, override
from ladd_ray.data import task_world
from ladd_ray.models.folder import fingerprint
from ladd_ray.training.preflight import Plan, prepare
from tests.training.pictures import write_latents


@pytest.fixture
def plan(config: Config) -> Plan:
    """Of the tiny run."""
    return prepare(config)


def test_plan_names_the_teacher_and_where_its_latents_belong(plan: Plan, tiny_folder: Path) -> None:
    assert plan.teacher == plan.provenance.teacher == fingerprint(tiny_folder)
    assert plan.provenance.shift == 1.0
    assert plan.latents == Path(plan.config.run.directory) / "latents" / plan.provenance.key


def test_relative_paths_become_absolute(
    config: Config, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LADD_RAY_HOME", raising=False)
    (tmp_path / "teacher").symlink_to(tiny_folder)
    (tmp_path / "prompts.txt").write_text("a red apple\n")
    changes = {"teacher.path": "./teacher", "run.directory": "out", "data.prompts": "prompts.txt"}
    found = prepare(override(config, changes)).config
    assert found.teacher.path == str(tiny_folder)
    assert found.data.prompts == str(tmp_path / "prompts.txt")
    assert found.run_directory == tmp_path / "out" / "tiny"


def test_a_submitted_job_writes_outside_of_its_copy_of_the_code(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relative = override(config, {"run.directory": "runs"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.delenv("LADD_RAY_HOME", raising=False)
    assert prepare(relative).config.run_directory == tmp_path / "home" / "ladd_ray" / "runs" / "tiny"
    monkeypatch.setenv("LADD_RAY_HOME", str(tmp_path / "shared"))
    assert prepare(relative).config.run_directory == tmp_path / "shared" / "runs" / "tiny"
    assert prepare(config).config.run_directory == config.run_directory


def test_a_missing_teacher_is_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model folder at .*nowhere: give a Stable Diffusion 3 folder"):
        prepare(override(config, {"teacher.path": str(tmp_path / "nowhere")}))


def test_another_family_is_refused(config: Config, tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "flux"
    shutil.copytree(tiny_folder, copy)
    index = json.loads((copy / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "FluxTransformer2DModel"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="holds FluxTransformer2DModel, not SD3Transformer2DModel"):
        prepare(override(config, {"teacher.path": str(copy)}))


def test_a_block_beyond_the_teachers_depth_is_refused(config: Config) -> None:
    prepare(override(config, {"discriminator.tapped_blocks": (0, 1)}))
    with pytest.raises(ValueError, match=r"goes beyond the teacher's 2 blocks: use 0\.\.1"):
        prepare(override(config, {"discriminator.tapped_blocks": (0, 2)}))


def test_a_picture_larger_than_the_teachers_positions_is_refused(config: Config) -> None:
    prepare(override(config, {"data.width": 256}))
    with pytest.raises(ValueError, match="must not exceed 256"):
        prepare(override(config, {"data.width": 272}))


def test_buckets_too_are_checked_against_the_teachers_positions(config: Config) -> None:
    with pytest.raises(ValueError, match="must not exceed 256"):
        prepare(override(config, {"data.buckets": ((64, 64), (64, 272))}))


def test_a_teacher_that_cannot_edit_or_inpaint_is_refused(config: Config) -> None:
    with pytest.raises(ValueError, match=r"only generates: set data\.tasks\.edit and data\.tasks\.inpaint to 0"):
        prepare(override(config, {"data.tasks.edit": 0.5}))


@pytest.mark.parametrize("name", ["data.prompts", "data.heldout_prompts"])
def test_a_missing_prompt_file_is_refused(config: Config, name: str) -> None:
    with pytest.raises(ValueError, match="no prompt file at"):
        prepare(override(config, {name: "nowhere.txt"}))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"guidance_scale": "1"}, "guidance_scale"),
        ({"teacher": "f" * 16}, "teacher"),
        ({"num_inference_steps": 9, "seed": 3}, "num_inference_steps, seed"),
    ],
)
def test_latents_drawn_in_another_way_are_refused(
    config: Config, plan: Plan, tmp_path: Path, change: dict[str, object], name: str
) -> None:
    folder = tmp_path / "theirs"
    write_latents(folder, replace(plan.provenance, **change))
    with pytest.raises(ValueError, match=f"was drawn with another {name}: set data to match"):
        prepare(override(config, {"data.latents": str(folder)}))


def test_matching_latents_are_taken(config: Config, plan: Plan, tmp_path: Path) -> None:
    write_latents(tmp_path / "ours", plan.provenance)
    found = prepare(override(config, {"data.latents": str(tmp_path / "ours")}))
    assert found.latents == tmp_path / "ours"
    assert "reuse 24" in found.describe()


def test_unfinished_latents_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished rows"):
        prepare(override(config, {"data.latents": str(tmp_path)}))


def test_what_shapes_latents_gives_them_another_folder(config: Config, plan: Plan) -> None:
    folders = {
        name: prepare(override(config, {name: value})).latents
        for name, value in {
            "data.seed": 1,
            "data.guidance_scale": 5.0,
            "data.shift": 3.0,
            "data.num_latents": 25,
            "data.guidance_range": (2.0, 4.0),
            "data.buckets": ((64, 64), (64, 96)),
            "data.origin": "real",
            "data.store_prompt_embeds": False,
        }.items()
    }
    assert len({*folders.values(), plan.latents}) == 9
    same = {"data.synthesis_batch_size": 3, "run.steps": 99, "run.seed": 5, "data.image_guidance_scale": 2.0}
    assert prepare(override(config, same)).latents == plan.latents


def test_another_drawing_of_the_world_gives_its_rows_another_folder(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = override(config, {"data.origin": "real"})
    before = prepare(real).latents
    assert prepare(real).latents == before
    render = task_world.render
    monkeypatch.setattr(task_world, "render", lambda scene: 255 - render(scene))
    assert prepare(real).latents != before


def test_the_plan_tells_people_what_would_run(plan: Plan) -> None:
    text = plan.describe()
    for part in (str(plan.config.run_directory), plan.teacher, "draw 24 at guidance 3, 2 steps", "10 steps of 4"):
        assert part in text, part
    assert "on this process" in text


def test_a_teacher_on_the_hub_needs_no_network_for_a_dry_run(config: Config) -> None:
    plan = prepare(override(config, {"teacher.path": "organisation/model"}), fetch=False)
    assert plan.teacher == plan.config.teacher.path == "organisation/model"
