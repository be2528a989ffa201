"""What can be set, and that the file which shows it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from serve.settings import EndpointSettings, ModelSettings

CONFIG = Path(__file__).resolve().parents[2] / "serve" / "config.yaml"


def test_the_example_names_every_setting_at_its_default() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    (application,) = schema.applications
    assert application.import_path == "serve.app:build"
    found = EndpointSettings.model_validate(application.args)
    default = EndpointSettings()
    assert (found.batch, found.limits, found.gateways) == (default.batch, default.limits, default.gateways)
    arguments = application.args
    assert set(arguments["batch"]) == set(type(default.batch).model_fields)
    assert set(arguments["limits"]) == set(type(default.limits).model_fields)
    assert schema.http_options.request_timeout_s is not None
    assert schema.http_options.request_timeout_s > default.limits.max_deadline_s


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["sd3-stickers"]),
        ({"model": "runs/stickers/export"}, ["stickers"]),
        ({"model": "/models/my-student"}, ["my-student"]),
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
        {"models": [{"name": "a"}, {"name": "a"}]},
        {"models": [{"name": "default"}]},
        {"models": [{"name": "a/b"}]},
        {"modell": "x"},
        {"batch": {"max_rows": 0}},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EndpointSettings.model_validate(wrong)
