"""A tiny run in this process: its configuration, its data, and the loop around a tracker that only writes lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.recipes import stickers
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.checkpoints import CheckpointKeeper, keep_locally
from ladd_ray.training.loop import distill
from ladd_ray.training.methods import Method
from ladd_ray.training.milestones.scoring import Announce, Milestones
from ladd_ray.training.run_folder import RunFolder, identity_hash

STEPS = 10
LOSSES = ("student/loss", "discriminator/loss")
TEACHER = "0123456789abcdef"
"""Stands for a fingerprint where none is looked at."""

TINY: Mapping[str, object] = {
    "student.lr": 1e-3,
    "student.ema_decay": 0.9,
    "discriminator.lr": 1e-3,
    "discriminator.width": 32,
    "data.num_latents": 24,
    "data.num_inference_steps": 2,
    "evaluation.num_images": 8,
    "evaluation.num_diversity_prompts": 2,
    "evaluation.num_diversity_seeds": 2,
    "evaluation.num_sample_prompts": 3,
    "evaluation.batch_size": 12,
    "tracking.log_every": 1,
    "run.name": "tiny",
    "run.steps": STEPS,
    "run.num_workers": 0,
    "run.engine": "local",
    "run.global_batch_size": 4,
    "run.checkpoint_every": 3,
}


def tiny_config(teacher: Path, directory: Path, **changes: object) -> Config:
    """The sticker recipe in small; ``changes`` write a dot as two underscores."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    paths = {"teacher.path": str(teacher), "run.directory": str(directory)}
    return override(stickers(), {**TINY, **paths, **dotted})


class StoppedError(Exception):
    """The end of a process, as a tracker brings it about."""


class HistoryTracker:
    """Only ``metrics.jsonl``; stops the run after a step if asked to."""

    run_id = None

    def __init__(self, history: LocalHistory, *, stop_after: int | None = None) -> None:
        self._history, self._stop_after = history, stop_after

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self._history.append(metrics, step)
        if step == self._stop_after:
            raise StoppedError

    def log_artifacts(self, paths: Iterator[Path] | list[Path]) -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...


def train(
    config: Config,
    latents: Path,
    *,
    stop_after: int | None = None,
    reference: Path | None = None,
    announce: Announce | None = None,
) -> Method:
    """What ``run_worker`` does before the export, without MLflow; milestones with a reference only."""
    engine = LocalEngine(
        "cpu",
        total_steps=config.run.steps,
        gradient_accumulation_steps=config.run.gradient_accumulation_steps,
    )
    folder = RunFolder(config.run_directory)
    keeper = CheckpointKeeper(
        engine=engine,
        root=folder.checkpoints,
        config_hash=identity_hash(config, teacher=TEACHER),
        noise_levels=config.noise.levels,
        deliver=keep_locally(folder.checkpoints, to_keep=config.run.checkpoints_to_keep),
    )
    tracker = HistoryTracker(history(config), stop_after=stop_after)
    history(config).truncate(keeper.step)
    milestones = None
    if reference is not None:
        milestones = Milestones(config, engine, reference=reference, folder=folder, announce=announce)
    return distill(config, engine=engine, latents=latents, keeper=keeper, tracker=tracker, milestones=milestones)


def history(config: Config) -> LocalHistory:
    """The metrics of a run."""
    return LocalHistory(config.run_directory / "metrics.jsonl")


def timeless(config: Config) -> list[dict[str, float]]:
    """The metrics of a run without those that a clock decides."""
    return [
        {name: value for name, value in line.items() if name.split("/")[0] not in ("throughput", "data")}
        for line in history(config).read()
    ]
