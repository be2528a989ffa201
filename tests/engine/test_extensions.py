"""A lock that a killed build left must not stop every later run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ladd_ray.engine.extensions import STALE_S, clear_stale_build_locks


def test_old_locks_go_and_young_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    old, young = tmp_path / "first" / "lock", tmp_path / "second" / "lock"
    for lock in (old, young):
        lock.parent.mkdir()
        lock.touch()
    long_ago = time.time() - 2 * STALE_S
    os.utime(old, (long_ago, long_ago))
    clear_stale_build_locks()
    assert not old.exists()
    assert young.exists()
    clear_stale_build_locks()


def test_no_build_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "nowhere"))
    clear_stale_build_locks()
