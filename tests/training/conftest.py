"""What the tests of the training share: a tiny configuration and latents that lie ready for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from ladd_ray.config import Config
from ladd_ray.training.preflight import prepare
from tests.training.pictures import write_latents
from tests.training.runs import tiny_config


@pytest.fixture
def config(tiny_folder: Path, tmp_path: Path) -> Config:
    """A tiny run in a folder of its own."""
    return tiny_config(tiny_folder, tmp_path / "runs")


@pytest.fixture(scope="package")
def cluster() -> Iterator[None]:
    """One cluster for all tests of the training that want one; the jobs join it."""
    ray.init(num_cpus=2, logging_level="WARNING")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def latents(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents of every tiny run."""
    root = tmp_path_factory.mktemp("latents")
    provenance = prepare(tiny_config(tiny_folder, root)).provenance
    write_latents(root / provenance.key, provenance)
    return root / provenance.key
