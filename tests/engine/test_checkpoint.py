"""Manifests: only complete checkpoints count."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from ladd_ray.engine import checkpoint
from ladd_ray.engine.checkpoint import CorruptCheckpointError, newest_valid, stamp_files, verify, write_manifest


def make(directory: Path, step: int) -> Path:
    (directory / "student").mkdir(parents=True)
    (directory / "student" / "weights.pt").write_bytes(b"weights" * step)
    (directory / "heads.pt").write_bytes(b"heads")
    write_manifest(
        directory,
        stamp_files(directory),
        step=step,
        world_size=2,
        mlflow_run_id="abc",
        config_hash="0f",
        noise_levels=(1.0, 0.5),
    )
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two checkpoints; the newer one sorts first by name and lies deeper."""
    make(tmp_path / "run" / "checkpoint_b", 5)
    make(tmp_path / "run" / "trial" / "checkpoint_a", 10)
    return tmp_path


def newest(root: Path) -> Path:
    return root / "run" / "trial" / "checkpoint_a"


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    manifest = verify(make(tmp_path / "one", 3))
    assert (manifest.step, manifest.world_size, manifest.mlflow_run_id) == (3, 2, "abc")
    assert (manifest.config_hash, manifest.noise_levels) == ("0f", (1.0, 0.5))
    assert set(manifest.files) == {"student/weights.pt", "heads.pt"}
    assert manifest.files["student/weights.pt"].size == 21


def test_the_newest_complete_checkpoint_is_found(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = newest_valid(root)
    assert found is not None
    assert (found[0], found[1].step) == (newest(root), 10)
    assert not caplog.records


def truncate(directory: Path) -> None:
    (directory / "student" / "weights.pt").write_bytes(b"weigh")


def flip(directory: Path) -> None:
    (directory / "heads.pt").write_bytes(b"HEADS")


def remove(directory: Path) -> None:
    (directory / "heads.pt").unlink()


def forget(directory: Path) -> None:
    (directory / "manifest.json").unlink()


def garble(directory: Path) -> None:
    (directory / "manifest.json").write_text('{"step": 10')


def impoverish(directory: Path) -> None:
    (directory / "manifest.json").write_text('{"step": 10, "files": {}, "noise_levels": []}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "weights.pt has 5 bytes instead of 70"),
        (flip, "heads.pt has other content"),
        (remove, "heads.pt is missing"),
        (forget, "manifest.json is missing"),
        (garble, "manifest.json is not a manifest"),
        (impoverish, "manifest.json is not a manifest"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_passed_over(
    root: Path, caplog: pytest.LogCaptureFixture, damage: object, message: str
) -> None:
    assert callable(damage)
    damage(newest(root))
    with pytest.raises(CorruptCheckpointError, match=message):
        verify(newest(root))
    with caplog.at_level(logging.WARNING):
        found = newest_valid(root)
    assert found is not None
    assert found[1].step == 5
    assert len(caplog.records) == 1
    assert message in caplog.text


def test_nothing_usable_is_none(tmp_path: Path) -> None:
    assert newest_valid(tmp_path) is None
    assert newest_valid(tmp_path / "never_made") is None
    truncate(make(tmp_path / "only", 1))
    assert newest_valid(tmp_path) is None


def test_the_root_itself_may_be_the_checkpoint(tmp_path: Path) -> None:
    found = newest_valid(make(tmp_path / "one", 3))
    assert found is not None
    assert found[1].step == 3


def test_it_needs_no_torch() -> None:
    tree = ast.parse(Path(checkpoint.__file__).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not any("torch" in (name or "") for name in [*modules, *names])
