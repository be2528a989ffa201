"""A tiny student as a folder, and an endpoint that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from serve.settings import BatchSettings, EndpointSettings, Limits, ModelSettings
from tests.inference.models import KNOBS, export_tiny
from tests.serve.endpoints import KEY, plain_endpoint


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
def address(settings: EndpointSettings) -> Iterator[str]:
    """One endpoint for all tests of this folder, in this process without Ray."""
    with plain_endpoint(settings) as found:
        yield found


@pytest.fixture(scope="package")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=100) as made:
        yield made
