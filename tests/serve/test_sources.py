"""Where models come from: mistakes are found before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ladd_ray.registry import Registry
from serve import sources
from serve.settings import EndpointSettings, RegistrySettings
from serve.sources import ModelSource, checked


def settings(**arguments: Any) -> EndpointSettings:
    return EndpointSettings.model_validate(arguments)


def test_folders_become_absolute(student_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(student_folder.parent)
    (model,) = checked(settings(model="export")).all_models
    assert (model.name, model.path) == (student_folder.parent.name, str(student_folder))
    assert ModelSource(model.path, RegistrySettings()).path_of(None) == str(student_folder)


def test_the_embedded_model_and_hub_names_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "scheduler_config", {"some/model": {}}.__getitem__)
    found = checked(settings(models=[{"name": "a"}, {"name": "b", "path": "some/model"}]))
    assert [model.path for model in found.all_models] == [None, "some/model"]


def test_a_hub_without_the_model_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> None:
        raise OSError(f"no {path}")

    monkeypatch.setattr(sources, "scheduler_config", missing)
    with pytest.raises(ValueError, match="the hub does not give it: no some/model"):
        checked(settings(model="some/model"))


def test_a_registry_that_is_gone_does_not_keep_replicas_from_starting(
    registry: Registry, champion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ModelSource(champion, RegistrySettings(uri=registry.uri, cache=tmp_path))
    version = source.find()
    folder = source.path_of(version)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = ModelSource(champion, RegistrySettings(uri="http://127.0.0.1:9", cache=tmp_path))
    assert gone.find_or_remember() == version
    assert gone.path_of(version) == folder
    unknown = ModelSource("models:/other@champion", RegistrySettings(uri="http://127.0.0.1:9", cache=tmp_path))
    with pytest.raises(ConnectionError):
        unknown.find_or_remember()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("runs/nowhere/export", "no model folder at .*runs/nowhere/export"),
        (".", "has no model_index.json"),
        ("models:/stickers", "NAME@ALIAS"),
        ("models:/stickers@champion", "no MLflow database"),
    ],
)
def test_mistakes_are_explained(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match=message):
        checked(settings(models=[{"name": "a", "path": path}]))


def test_the_registry_is_where_runs_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert checked(settings()).registry.uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking")
    assert checked(settings()).registry.uri == "http://tracking"
    assert checked(settings(registry={"uri": "http://other"})).registry.uri == "http://other"


def test_an_alias_is_fetched_and_followed(registry: Registry, champion: str, tmp_path: Path) -> None:
    place = RegistrySettings(uri=registry.uri, cache=tmp_path)
    source = ModelSource(champion, place)
    version = source.find()
    assert source.moves
    assert version is not None
    folder = source.path_of(version)
    assert folder is not None
    assert Path(folder, "model_index.json").is_file()
    assert not ModelSource(version.uri, place).moves
