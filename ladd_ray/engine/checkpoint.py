"""The manifest of a checkpoint directory: what is in it, and that all of it is there.

A checkpoint counts only when it is complete: the manifest is written last, lists every file with its size and
SHA-256, and is checked before anything is loaded. No torch in here.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

MANIFEST_NAME = "manifest.json"
DIRECTORY_PREFIX = "checkpoint_"
"""How Ray Train names the directories of reported checkpoints."""

logger = logging.getLogger(__name__)


class CorruptCheckpointError(ValueError):
    """A checkpoint that must not be loaded; the message names the file."""


class FileStamp(NamedTuple):
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself."""

    step: int
    """Optimizer steps done."""
    world_size: int
    """Ranks that saved it."""
    mlflow_run_id: str | None
    """Tracked run to continue."""
    config_hash: str
    """Fingerprint of the configuration that trained it."""
    noise_levels: tuple[float, ...]
    """Levels the network was trained at."""
    files: Mapping[str, FileStamp]
    """Every other file of the checkpoint, by relative path with forward slashes."""


def stamp_files(directory: Path) -> dict[str, FileStamp]:
    """Stamps of all files under ``directory``; each rank stamps its own before they are merged."""
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME)
    return {path.relative_to(directory).as_posix(): _stamp(path) for path in paths}


def write_manifest(
    directory: Path,
    files: Mapping[str, FileStamp],
    *,
    step: int,
    world_size: int,
    mlflow_run_id: str | None,
    config_hash: str,
    noise_levels: tuple[float, ...],
) -> Manifest:
    """Writes the manifest that makes ``directory`` a checkpoint; ``files`` are the stamps of all ranks."""
    manifest = Manifest(step, world_size, mlflow_run_id, config_hash, tuple(noise_levels), dict(files))
    text = json.dumps(asdict(manifest), indent=2)
    partial = directory / f"{MANIFEST_NAME}.part"
    partial.write_text(text + "\n")
    partial.replace(directory / MANIFEST_NAME)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """The manifest of ``directory``, without looking at the files it lists.

    Raises:
        CorruptCheckpointError: there is none, or it cannot be read.
    """
    path = directory / MANIFEST_NAME
    try:
        facts = json.loads(path.read_text())
        files = {name: FileStamp(*stamp) for name, stamp in facts.pop("files").items()}
        levels = tuple(facts.pop("noise_levels"))
        return Manifest(**facts, noise_levels=levels, files=files)
    except FileNotFoundError:
        raise CorruptCheckpointError(f"{path} is missing: the checkpoint was never completed") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptCheckpointError(f"{path} is not a manifest: {error}") from error


def verify(directory: Path) -> Manifest:
    """The manifest of ``directory`` after comparing every listed file with its stamp.

    Raises:
        CorruptCheckpointError: a file is missing, has another size or other content.
    """
    manifest = read_manifest(directory)
    for name, expected in manifest.files.items():
        _verify_file(directory / name, expected)
    return manifest


def newest_valid(root: Path) -> tuple[Path, Manifest] | None:
    """The complete checkpoint with the most steps anywhere under ``root``, or None.

    Each one that is newer but damaged is logged as a warning, with the file that is to blame.
    """
    for directory in _newest_first(root):
        try:
            return directory, verify(directory)
        except CorruptCheckpointError as problem:
            logger.warning("checkpoint %s is damaged, falling back to an older one: %s", directory, problem)
    return None


def _newest_first(root: Path) -> list[Path]:
    steps: dict[Path, int] = {}
    for directory in _candidates(root):
        try:
            steps[directory] = read_manifest(directory).step
        except CorruptCheckpointError as problem:
            logger.warning("checkpoint %s is incomplete and ignored: %s", directory, problem)
    return sorted(steps, key=lambda directory: steps[directory], reverse=True)


def _candidates(root: Path) -> Iterator[Path]:
    """Directories that hold a manifest, or whose name says that they should."""
    for directory in sorted({root, *root.rglob("*/")}):
        named = directory.name.startswith(DIRECTORY_PREFIX) and directory.is_dir()
        if named or (directory / MANIFEST_NAME).is_file():
            yield directory


def _verify_file(path: Path, expected: FileStamp) -> None:
    if not path.is_file():
        raise CorruptCheckpointError(f"{path} is missing")
    size = path.stat().st_size
    if size != expected.size:
        raise CorruptCheckpointError(f"{path} has {size} bytes instead of {expected.size}")
    if _stamp(path) != expected:
        raise CorruptCheckpointError(f"{path} has other content than when it was saved (SHA-256 differs)")


def _stamp(path: Path) -> FileStamp:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileStamp(path.stat().st_size, digest)
