"""A launch page on a cluster that only pretends."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.tune.jobs import PretendedCluster
from tests.tune.visitors import visitor


@pytest.fixture
def pretended() -> PretendedCluster:
    return PretendedCluster()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def person(pretended: PretendedCluster, runs: Path) -> TestClient:
    """Somebody at the machine of an open cluster."""
    return visitor(pretended, runs)
