"""What the tests of continued training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.finetuning.encoding import ensure_encoded
from ladd_ray.training.finetuning.preflight import prepare
from tests.training.finetuning.runs import tiny_config


@pytest.fixture
def config(tiny_folder: Path, tmp_path: Path) -> FinetuneConfig:
    """A tiny run in a folder of its own."""
    return tiny_config(tiny_folder, tmp_path / "runs")


@pytest.fixture(scope="session")
def encoded(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of every tiny run."""
    return ensure_encoded(prepare(tiny_config(tiny_folder, tmp_path_factory.mktemp("encoded"))))
