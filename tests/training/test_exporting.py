"""Models of runs leave them: as folders, and as versions in a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ladd_ray.config import Config, TrackingConfig, override
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import fingerprint
from ladd_ray.registry import Reference, Registry
from ladd_ray.tracking import MlflowTracker, mlflow_uri
from ladd_ray.training.exporting import export
from ladd_ray.training.registration import register_model
from ladd_ray.training.run_folder import RunFolder, claim
from tests.inference.models import export_tiny
from tests.training.evaluation.test_raw_checkpoints import engine, student
from tests.training.runs import TEACHER, tiny_config

__all__ = ["engine", "student"]


@pytest.fixture
def finished(tiny_folder: Path, tmp_path: Path) -> RunFolder:
    """A run with an export."""
    folder = claim(tiny_config(tiny_folder, tmp_path / "runs"), teacher=TEACHER)
    export_tiny(tiny_folder, folder.export)
    return folder


def test_a_finished_run_gives_what_it_exported(finished: RunFolder, tmp_path: Path) -> None:
    assert export(finished.path).path == finished.export
    copy = export(finished.path, output=tmp_path / "deep" / "copy").path
    assert fingerprint(copy) == fingerprint(finished.export)
    assert [file.name for file in copy.parent.iterdir()] == ["copy"]
    with pytest.raises(ValueError, match="exists: choose another folder"):
        export(finished.path, output=copy)


def test_an_unfinished_run_gives_its_newest_checkpoint(student: tuple[Path, object]) -> None:
    checkpoint, _ = student
    run = checkpoint.parents[1]
    assert export(run).path == checkpoint / "pipeline" == export(checkpoint).path
    assert exported_levels(checkpoint / "pipeline") == (1.0, 0.75, 0.5, 0.25)


def test_other_folders_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no run"):
        export(tiny_folder)
    empty = claim(tiny_config(tiny_folder, tmp_path / "runs"), teacher=TEACHER)
    with pytest.raises(ValueError, match="no checkpoint yet"):
        export(empty.path)


def test_a_run_that_was_moved_is_registered_from_where_it_lies(finished: RunFolder, tmp_path: Path) -> None:
    moved = finished.path.rename(tmp_path / "moved")
    tracking = TrackingConfig(register_as="tiny", alias="champion")
    model = export(moved, tracking=tracking)
    registry = Registry.existing(f"sqlite:///{tmp_path / 'mlflow.db'}", cache=tmp_path / "cache")
    version = registry.find(Reference.parse("models:/tiny@champion"))
    assert fingerprint(registry.fetch(version)) == version.fingerprint == fingerprint(model.path)
    assert not (moved / "mlflow_run_id").exists()
    assert not finished.path.exists()


@pytest.fixture
def config(tiny_folder: Path, tmp_path: Path) -> Config:
    changes = {"tracking.register_as": "tiny", "tracking.alias": "champion"}
    return override(tiny_config(tiny_folder, tmp_path / "runs"), changes)


def test_a_version_belongs_to_the_run_that_made_it(config: Config, finished: RunFolder) -> None:
    tracker = MlflowTracker(config)
    tracker.finish()
    version = register_model(config, finished.export)
    assert version is not None
    assert register_model(config, finished.export) == version
    found = MlflowClient(mlflow_uri(config)).get_model_version("tiny", "1")
    assert found.run_id == tracker.run_id
    assert {"recipe": config.recipe, "run": config.run.name}.items() <= found.tags.items()
    assert found.aliases == ["champion"]


def test_a_version_of_a_run_that_was_tracked_elsewhere_gets_a_run(
    config: Config, finished: RunFolder, tmp_path: Path
) -> None:
    (config.run.path / "mlflow_run_id").write_text("0" * 32)
    register_model(config, finished.export)
    client = MlflowClient(mlflow_uri(config))
    run = client.get_run(client.get_model_version("tiny", "1").run_id)
    assert (run.info.run_name, run.info.status) == (config.run.name, "FINISHED")
    assert (config.run.path / "mlflow_run_id").read_text() == "0" * 32


def test_nothing_is_registered_that_was_not_asked_for(config: Config, finished: RunFolder) -> None:
    silent = override(config, {"tracking.register_as": None, "tracking.alias": None})
    assert register_model(silent, finished.export) is None
    assert not (config.run.path.parent / "mlflow.db").exists()


def test_an_mlflow_that_does_not_answer_is_told(config: Config, finished: RunFolder) -> None:
    with pytest.raises(ValueError, match=r"is done, but not registered: .* Run the same command again"):
        register_model(override(config, {"tracking.uri": "http://127.0.0.1:9"}), finished.export)
