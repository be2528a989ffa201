"""A distilled student leaves its training: adapters merged, knobs kept, and how it was made written beside it.

One that was trained to generate only leaves as a text-to-image folder, whatever else its teacher can do.
"""

from __future__ import annotations

from pathlib import Path

from ladd_ray.config import Config
from ladd_ray.interfaces import Engine, TrainableNetwork
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import has_three_tasks
from ladd_ray.models.lora import merge_adapters
from ladd_ray.training.knobs import guidance_knobs

PAPERS = {"ladd": "LADD (arXiv 2403.12015)", "add": "ADD (arXiv 2311.17042)", "lcm": "LCM (arXiv 2310.04378)"}
"""What an export says about how it was made."""


def export_student(
    config: Config, student: TrainableNetwork, output: Path, *, engine: Engine, teacher: str, steps: int
) -> None:
    """Write the moving average as a pipeline folder; collective, and rank 0 writes.

    Args:
        config: of the run.
        student: the trained network.
        output: folder to make.
        engine: that the student lives in.
        teacher: fingerprint of the teacher.
        steps: done.

    Raises:
        ValueError: ``output`` exists.
    """
    state_dict = student.full_state_dict(ema=config.student.ema_decay > 0)
    if engine.rank == 0:
        export_pipeline(
            config.teacher.path,
            merge_adapters(state_dict, config.lora),
            output,
            levels=config.noise.levels,
            provenance={
                "method": PAPERS[config.method],
                "teacher": teacher,
                "steps": steps,
                "seed": config.run.seed,
                "ema_decay": config.student.ema_decay,
            },
            fold=config.data.generates_only and has_three_tasks(config.teacher.path),
            knobs=guidance_knobs(config),
        )
    engine.barrier()
