"""What is refused before anything starts, and which encoded set a run takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ladd_ray.config import override
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import fingerprint, load_transformer
from ladd_ray.models.widening import widen
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.finetuning.preflight import prepare
from ladd_ray.training.run_folder import claim


@pytest.fixture(scope="module")
def wide_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that edits and inpaints already."""
    weights = widen(load_transformer(tiny_folder, precision="fp32")).state_dict()
    output = tmp_path_factory.mktemp("wide") / "model"
    return export_pipeline(tiny_folder, weights, output, levels=None, provenance={})


def test_the_plan_names_the_model_and_where_its_rows_belong(config: FinetuneConfig, tiny_folder: Path) -> None:
    plan = prepare(config)
    assert plan.model == fingerprint(tiny_folder)
    assert plan.encoded == Path(config.run.directory) / "encoded" / plan.provenance.key
    text = plan.describe()
    for part in (str(config.run_directory), plan.model, "generate, edit, inpaint", "6 steps of 4", "this process"):
        assert part in text, part


def test_rows_do_not_depend_on_the_transformer(config: FinetuneConfig, wide_folder: Path) -> None:
    other = override(config, {"model.path": str(wide_folder)})
    assert prepare(other).encoded == prepare(config).encoded
    assert prepare(other).model != prepare(config).model


@pytest.mark.parametrize(
    "changes",
    [{"data.seed": 1}, {"data.num_rows": 25}, {"data.tasks.edit": 0.5}, {"data.buckets": [[64, 64]]}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_shapes_rows_gives_them_another_folder(config: FinetuneConfig, changes: dict[str, object]) -> None:
    assert prepare(override(config, changes)).encoded != prepare(config).encoded


def test_how_rows_are_made_and_used_does_not(config: FinetuneConfig) -> None:
    same = {"data.encoding_batch_size": 3, "data.memory_gb": 0, "optimizer.lr": 1.0, "run.steps": 9, "dropout.text": 0}
    assert prepare(override(config, same)).encoded == prepare(config).encoded


def test_an_encoded_set_can_be_reused_where_it_fits(config: FinetuneConfig, encoded: Path) -> None:
    assert prepare(override(config, {"data.encoded": str(encoded)})).encoded == encoded
    with pytest.raises(ValueError, match="with another settings: set data to match"):
        prepare(override(config, {"data.encoded": str(encoded), "data.seed": 1}))


def test_relative_paths_become_absolute(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    (tmp_path / "pictures" / "a.txt").write_text("a cat")
    monkeypatch.chdir(tmp_path)
    assert prepare(override(config, {"data.source": "pictures"})).config.data.source == str(tmp_path / "pictures")


def test_a_three_task_model_is_not_made_narrow(config: FinetuneConfig, wide_folder: Path) -> None:
    shares = {"data.tasks.edit": 0, "data.tasks.inpaint": 0}
    with pytest.raises(ValueError, match=r"edits and inpaints already: set model\.three_tasks = True"):
        prepare(override(config, {"model.path": str(wide_folder), "model.three_tasks": False, **shares}))


def test_another_setting_is_another_run(config: FinetuneConfig) -> None:
    plan = prepare(config)
    folder = claim(plan.config, teacher=plan.model)
    assert FinetuneConfig.model_validate(json.loads((folder.path / "config.json").read_text())["config"]) == plan.config
    claim(override(plan.config, {"data.memory_gb": 1.0, "validation.batch_size": 3}), teacher=plan.model)
    with pytest.raises(ValueError, match=r"dropout\.text: 0\.05 there, 0\.1 now"):
        claim(override(plan.config, {"dropout.text": 0.1}), teacher=plan.model)
