"""What can be set, and that the file which shows it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from serve.app import build
from serve.guards import KEYS_VARIABLE
from serve.settings import BatchSettings, EndpointSettings, ModelSettings

CONFIG = Path(__file__).resolve().parents[2] / "serve" / "config.yaml"


def test_the_example_names_every_setting_at_its_default() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    (application,) = schema.applications
    assert application.import_path == "serve.app:build"
    found = EndpointSettings.model_validate(application.args)
    default = EndpointSettings()
    sections = ("batch", "limits", "registry")
    (model,) = found.all_models
    assert all(getattr(found, name) == getattr(default, name) for name in sections)
    assert model == ModelSettings(name="stickers", path="runs/stickers/export")
    arguments = application.args
    assert all(set(arguments[name]) == set(type(getattr(default, name)).model_fields) for name in sections)
    assert set(arguments["models"][0]) == set(ModelSettings.model_fields)
    assert set(arguments) == set(EndpointSettings.model_fields) - {"model", "num_gpus"}
    names = ("api_keys_file", "gateways", "page")
    assert all(getattr(found, name) == getattr(default, name) for name in names)
    assert found.keys_required, "it listens to everybody"
    assert schema.http_options.request_timeout_s is not None
    assert schema.http_options.request_timeout_s > default.limits.max_deadline_s


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["stickers-turbo"]),
        ({"model": "runs/stickers/export"}, ["stickers"]),
        ({"model": "/models/my-student"}, ["my-student"]),
        ({"model": Path("runs/tasks/pipeline")}, ["tasks"]),
        ({"model": "stabilityai/stable-diffusion-3.5-medium"}, ["stable-diffusion-3.5-medium"]),
        ({"model": "models:/my-student@champion"}, ["my-student"]),
        ({"models": [{"name": "a"}, {"name": "b", "path": "x"}]}, ["a", "b"]),
    ],
)
def test_models_are_named_after_their_runs(arguments: dict[str, Any], names: list[str]) -> None:
    assert [model.name for model in EndpointSettings.model_validate(arguments).all_models] == names


def test_a_gpu_for_the_short_form() -> None:
    (model,) = EndpointSettings.model_validate({"model": "x", "num_gpus": "1"}).all_models
    assert model.uses_gpu
    assert not ModelSettings(name="a").uses_gpu


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "x", "models": [{"name": "a"}]},
        {"num_gpus": 1, "models": [{"name": "a"}]},
        {"models": [{"name": "a"}, {"name": "a"}]},
        {"models": [{"name": "default"}]},
        {"models": [{"name": "a/b"}]},
        {"models": [{"name": "a", "num_replicas": 3, "max_replicas": 2}]},
        {"model": "models:/my-student"},
        {"modell": "x"},
        {"batch": {"max_rows": 0}},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EndpointSettings.model_validate(wrong)


def test_replicas_are_fixed_or_scaled() -> None:
    def model_deployment(**scale: Any) -> Any:
        settings = EndpointSettings(models=(ModelSettings(name="a", **scale),), batch=BatchSettings(max_rows=8))
        return build(settings)._bound_deployment.init_args[0]["a"]._bound_deployment

    assert model_deployment(num_replicas=2).num_replicas == 2
    assert model_deployment(num_replicas=2, max_replicas=2)._deployment_config.autoscaling_config is None
    scaling = model_deployment(num_replicas=1, max_replicas=4)._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (1, 4, 8)
    half = model_deployment(num_gpus=0.5, max_replicas=2, target_requests=3.0)
    assert half.ray_actor_options["num_gpus"] == 0.5
    assert half._deployment_config.autoscaling_config.target_ongoing_requests == 3


def test_nothing_is_built_without_the_keys_that_are_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    settings = EndpointSettings(keys_required=True)
    with pytest.raises(ValueError, match=KEYS_VARIABLE):
        build(settings)
    (tmp_path / "keys").write_text("first")
    build(settings.model_copy(update={"api_keys_file": tmp_path / "keys"}))
    monkeypatch.setenv(KEYS_VARIABLE, "second")
    build(settings)
