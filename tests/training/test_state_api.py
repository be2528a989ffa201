"""A sweep with Ray Train workers asks for the dashboard before it starts, instead of waiting for ever in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import ray
from ladd_ray.training.cluster import require_state_api
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
require_state_api(timeout_s=0)
"""


@pytest.mark.slow
def test_a_cluster_without_dashboard_is_refused() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 1
    assert "ValueError: the cluster's dashboard does not answer" in child.stderr
