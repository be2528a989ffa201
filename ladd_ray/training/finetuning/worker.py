"""One worker of a continued training: the loop, the last validation, and the model that comes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladd_ray.evaluation.pictures import training_curves
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.checkpoints import Deliver, ray_delivery
from ladd_ray.training.finetuning.loop import finetune
from ladd_ray.training.finetuning.model_export import export_model
from ladd_ray.training.finetuning.validation import Validation
from ladd_ray.training.worker import Workplace, workplace


def train_worker(settings: Mapping[str, Any]) -> None:
    """What Ray Train runs on every worker; ``settings`` come from ``worker_settings``."""
    run_worker(settings, deliver=ray_delivery())


def worker_settings(config: FinetuneConfig, *, model: str, encoded: Path) -> dict[str, Any]:
    """A plain dictionary, so that Ray can show and store it."""
    return {"config": config.model_dump(mode="json"), "model": model, "encoded": str(encoded)}


def run_worker(settings: Mapping[str, Any], *, deliver: Deliver | None = None) -> None:
    """Train this worker's share; without ``deliver`` as the only worker, in this process."""
    config = FinetuneConfig.model_validate(settings["config"])
    model, encoded = settings["model"], Path(settings["encoded"])
    with workplace(config, teacher=model, noise_levels=(), deliver=deliver) as place:
        network = finetune(config, engine=place.engine, encoded=encoded, keeper=place.keeper, tracker=place.tracker)
        losses = Validation.over(config, encoded).losses(network, place.engine)
        if place.engine.rank == 0:
            # A half-finished one of an earlier attempt.
            shutil.rmtree(place.folder.pipeline, ignore_errors=True)
        export_model(config, network, place.folder.pipeline, engine=place.engine, model=model, steps=config.run.steps)
        if place.engine.rank == 0:
            _report(config, losses, place)
        place.engine.barrier()


def _report(config: FinetuneConfig, losses: Mapping[str, float], place: Workplace) -> None:
    """metrics.json last: its presence means that the run is finished."""
    folder = place.folder
    place.tracker.log_metrics(losses, config.run.steps)
    training_curves(
        LocalHistory(folder.path / "metrics.jsonl").read(), folder.path / "curves.png", title=config.run.name
    )
    partial = folder.metrics.with_suffix(".part")
    partial.write_text(json.dumps(losses, indent=2) + "\n")
    partial.replace(folder.metrics)
    place.tracker.log_artifacts([folder.path / name for name in ("curves.png", "metrics.json", "config.json")])
