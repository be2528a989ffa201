"""A model leaves its continued training as a pipeline folder, with how it was made written beside it."""

from __future__ import annotations

from pathlib import Path

from ladd_ray.interfaces import Engine, TrainableNetwork
from ladd_ray.models.export import export_pipeline
from ladd_ray.pretrain_config import FinetuneConfig


def export_model(
    config: FinetuneConfig, network: TrainableNetwork, output: Path, *, engine: Engine, model: str, steps: int
) -> None:
    """Write the moving average as a pipeline folder; collective, and rank 0 writes.

    Args:
        config: of the run.
        network: what was trained.
        output: folder to make.
        engine: that the network lives in.
        model: fingerprint of the model that the run started from.
        steps: done.

    Raises:
        ValueError: ``output`` exists.
    """
    weights = network.full_state_dict(ema=config.optimizer.ema_decay > 0)
    if engine.rank == 0:
        export_pipeline(
            config.model.path,
            weights,
            output,
            levels=None,
            provenance={
                "method": "flow matching (arXiv 2403.03206)",
                "from": model,
                "three_tasks": config.model.three_tasks,
                "steps": steps,
                "seed": config.run.seed,
                "ema_decay": config.optimizer.ema_decay,
            },
        )
    engine.barrier()
