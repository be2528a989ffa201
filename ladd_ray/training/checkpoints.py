"""Saves and restores the state of a run: one directory per checkpoint, complete only with its manifest."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ladd_ray.engine.checkpoint import DIRECTORY_PREFIX, Manifest, newest_valid, stamp_files, write_manifest
from ladd_ray.interfaces import Engine, Tracker, TrainableNetwork

logger = logging.getLogger(__name__)

Deliver = Callable[[Path, int], None]
"""Hands this rank's directory of a step over to the storage; collective."""


@dataclass
class CheckpointKeeper:
    """Knows where the checkpoints of a run lie, which is the newest whole one, and how a new one gets there."""

    engine: Engine
    root: Path
    """Folder of all checkpoints of the run, seen by every worker."""
    config_hash: str
    noise_levels: tuple[float, ...]
    """Levels that the networks are trained at; () where they are drawn from a continuum."""
    deliver: Deliver
    found: tuple[Path, Manifest] | None = field(init=False)

    def __post_init__(self) -> None:
        # One rank looks, all follow: a damaged checkpoint must not send ranks to different steps.
        mine = newest_valid(self.root) if self.engine.rank == 0 and self.root.is_dir() else None
        self.found = self.engine.gather_objects(mine)[0]

    @property
    def step(self) -> int:
        """Steps done by the checkpoint to resume from; 0 without one."""
        return self.found[1].step if self.found else 0

    @property
    def mlflow_run_id(self) -> str | None:
        """The tracked run of that checkpoint."""
        return self.found[1].mlflow_run_id if self.found else None

    def restore(self, networks: Mapping[str, TrainableNetwork]) -> int:
        """Load the newest whole checkpoint into the named networks; returns the steps done.

        Raises:
            ValueError: it was trained with other noise levels than the configuration asks for.
        """
        if self.found is None:
            return 0
        directory, manifest = self.found
        if tuple(manifest.noise_levels) != self.noise_levels:
            raise ValueError(
                f"{directory} was trained at the noise levels {manifest.noise_levels}, the configuration samples at "
                f"{self.noise_levels}: they must be equal"
            )
        for name, network in networks.items():
            network.load(directory / name)
        if self.engine.rank == 0:
            logger.warning("resumed at step %d from %s", manifest.step, directory)
        return manifest.step

    def save(self, networks: Mapping[str, TrainableNetwork], *, step: int, tracker: Tracker) -> None:
        """Write this rank's part, the manifest over all parts, and deliver it."""
        directory = Path(tempfile.mkdtemp(prefix="ladd_ray_checkpoint_"))
        for name, network in networks.items():
            network.save(directory / name)
        stamps = self.engine.gather_objects(stamp_files(directory))
        if self.engine.rank == 0:
            write_manifest(
                directory,
                {name: stamp for part in stamps for name, stamp in part.items()},
                step=step,
                world_size=self.engine.world_size,
                mlflow_run_id=tracker.run_id,
                config_hash=self.config_hash,
                noise_levels=self.noise_levels,
            )
        self.deliver(directory, step)


def ray_delivery() -> Deliver:
    """Delivery by Ray Train, which merges the directories of all workers into one and drops old ones."""
    from ray import train

    def deliver(directory: Path, step: int) -> None:
        checkpoint = train.Checkpoint.from_directory(directory)
        train.report({"step": step}, checkpoint=checkpoint, checkpoint_upload_mode=train.CheckpointUploadMode.ASYNC)

    return deliver


def ray_announcement() -> Callable[[Mapping[str, float]], None]:
    """Scores to the driver by Ray Train; collective."""
    from ray import train

    return lambda scores: train.report(dict(scores))


def keep_locally(root: Path, *, to_keep: int) -> Deliver:
    """Delivery without Ray: move the directory into ``root`` and drop the oldest."""

    def deliver(directory: Path, step: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        target = root / f"{DIRECTORY_PREFIX}{step:08d}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(directory, target)
        for old in sorted(root.glob(f"{DIRECTORY_PREFIX}*"))[:-to_keep]:
            shutil.rmtree(old)

    return deliver
