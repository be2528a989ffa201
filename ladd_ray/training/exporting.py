"""The model of a run as a pipeline folder: the finished one, or that of a checkpoint."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ladd_ray.config import Config, TrackingConfig, override
from ladd_ray.engine.checkpoint import newest_valid
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.evaluation.raw_checkpoints import exported, find_checkpoint, run_of
from ladd_ray.training.registration import register_model
from ladd_ray.training.run_folder import RunFolder


@dataclass(frozen=True)
class Export:
    """A model that can draw."""

    path: Path
    """Its pipeline folder."""
    config: Config | FinetuneConfig
    """Of its run, as it lies now."""


def export(source: Path, *, output: Path | None = None, tracking: TrackingConfig | None = None) -> Export:
    """The model of a run.

    Args:
        source: folder of a run, for its finished model or else that of its newest checkpoint, or of one checkpoint.
        output: folder to make; by default the model stays where it is.
        tracking: says whether to register it.

    Raises:
        ValueError: there is no such model, ``output`` exists, or MLflow does not answer.
    """
    if output is not None and output.exists():
        raise ValueError(f"{output} exists: choose another folder, or remove it first")
    found = _model_of(source.expanduser().resolve())
    if output is not None:
        found = Export(_copied(found.path, output.expanduser().resolve()), found.config)
    if tracking is not None:
        chosen = {"uri": tracking.uri, "register_as": tracking.register_as, "alias": tracking.alias}
        changes = {f"tracking.{name}": value for name, value in chosen.items() if value is not None}
        register_model(override(found.config, changes), found.path)
    return found


def _model_of(source: Path) -> Export:
    checkpoint = find_checkpoint(source)
    if checkpoint is None:
        folder, run = RunFolder(source), run_of(source)
        if run is None:
            raise ValueError(f"{source} is no run and no checkpoint of one: give a folder that a training job has made")
        finished = next((model for model in (folder.export, folder.pipeline) if model.is_dir()), None)
        if finished is not None:
            return Export(finished, run.config)
        newest = newest_valid(folder.checkpoints) if folder.checkpoints.is_dir() else None
        checkpoint = None if newest is None else find_checkpoint(newest[0])
    if checkpoint is None:
        raise ValueError(f"{source} has no checkpoint yet: wait for the first one")
    return Export(exported(checkpoint), checkpoint.config)


def _copied(model: Path, output: Path) -> Path:
    """The folder appears whole or not at all."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model, partial)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output
