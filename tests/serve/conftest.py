"""A tiny student as a folder, and an endpoint that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from mlflow import MlflowClient

from ladd_ray.registry import Registry
from serve.settings import BatchSettings, EndpointSettings, Limits, ModelSettings
from tests.inference.models import KNOBS, export_tiny
from tests.serve.endpoints import KEY, plain_endpoint, ray_application, ray_serving


@pytest.fixture(scope="package")
def student_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four steps, with guidance knobs and all three tasks, in the folder of a run."""
    return export_tiny(tiny_folder, tmp_path_factory.mktemp("tiny-run") / "export", knobs=KNOBS)


@pytest.fixture(scope="package")
def settings(student_folder: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EndpointSettings:
    """A student, and a model of many steps that only generates."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"another\n{KEY}\n")
    return EndpointSettings(
        models=(
            ModelSettings(name="student", path=student_folder, num_cpus=0.1),
            ModelSettings(name="guided", path=tiny_folder, num_cpus=0.1, steps=2),
        ),
        batch=BatchSettings(max_rows=8, max_backlog_s=90.0),
        limits=Limits(max_pixels=128 * 128, max_body_bytes=256 * 1024),
        api_keys_file=keys,
    )


@pytest.fixture(scope="package")
def serving() -> Iterator[str]:
    """The address of a real Ray Serve without applications, on a cluster of its own."""
    with ray_serving() as found:
        yield found


@pytest.fixture(scope="package")
def ray_endpoint(serving: str, settings: EndpointSettings) -> Iterator[str]:
    """The address of an endpoint on it."""
    with ray_application(settings):
        yield serving


@pytest.fixture(scope="package", params=["plain", pytest.param("ray", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest, settings: EndpointSettings) -> Iterator[str]:
    """One endpoint for all tests of this folder: in this process without Ray, and on a real Ray Serve."""
    if request.param == "plain":
        with plain_endpoint(settings) as found:
            yield found
    else:
        yield request.getfixturevalue("ray_endpoint")


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """An MLflow of its own."""
    root = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{root / 'mlflow.db'}", cache=root / "cache")


@pytest.fixture(scope="package")
def mlflow_run(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that keeps files."""
    client = MlflowClient(registry.uri)
    location = tmp_path_factory.mktemp("artifacts").as_uri()
    run_id: str = client.create_run(client.create_experiment("tests", artifact_location=location)).info.run_id
    return run_id


@pytest.fixture
def champion(registry: Registry, mlflow_run: str, student_folder: Path) -> str:
    """What names the registered student now."""
    registry.register(student_folder, name="tiny", run_id=lambda: mlflow_run, tags={}, alias="champion")
    return "models:/tiny@champion"


@pytest.fixture(scope="package")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=100) as made:
        yield made
