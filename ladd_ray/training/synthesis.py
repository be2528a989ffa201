"""Makes the training latents, or finds them: Ray Data over actors that hold the teacher."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray

from ladd_ray.config import Config
from ladd_ray.data.latents import INDEX_COLUMN, Provenance, to_row_arrays
from ladd_ray.data.prompts import read_prompts
from ladd_ray.training.preflight import Plan
from ladd_ray.training.sampler import Sampler, worker_device
from ladd_ray.training.shards import make_once, progress_of, quiet_ray_data

Rows = dict[str, NDArray[Any]]


class TeacherActor:
    """Draws a batch of prompts with the guided teacher; one per worker."""

    def __init__(self, config: Config, provenance: Provenance) -> None:
        torch.set_num_threads(config.run.threads_per_worker)
        self._config, self._provenance = config, provenance
        device = worker_device(config.run.device)
        self._sampler = Sampler(config.teacher.path, precision=config.teacher.precision, device=device)

    def __call__(self, rows: Rows) -> Rows:
        """Columns index and prompt become index, prompt, latents and both embeddings."""
        facts = self._provenance
        prompt = self._sampler.encoder.encode([str(text) for text in rows["prompt"]])
        latents = self._sampler.teacher(
            prompt,
            [int(index) for index in rows[INDEX_COLUMN]],
            height=facts.height,
            width=facts.width,
            num_inference_steps=facts.num_inference_steps,
            guidance_scale=facts.guidance_scale,
            shift=facts.shift,
            seed=facts.seed,
        )
        return {**rows, **to_row_arrays(latents, prompt)}


def ensure_latents(plan: Plan) -> Path:
    """The folder of the plan's latents, drawn now if nobody drew them before."""
    return make_once(plan.latents, plan.provenance, partial(_draw, plan))


def _draw(plan: Plan, folder: Path) -> None:
    config = plan.config
    prompts = read_prompts(config.data.prompts, config.data.num_latents, split="train", seed=config.data.seed)
    table = pa.table({INDEX_COLUMN: np.arange(len(prompts)), "prompt": prompts})
    draw = _draw_on_cluster if config.run.num_workers else _draw_here
    draw(plan, table, folder)


def _draw_on_cluster(plan: Plan, table: pa.Table, folder: Path) -> None:
    import ray.data

    run, size = plan.config.run, plan.config.data.synthesis_batch_size
    quiet_ray_data()
    # One block per batch. Handing over tables instead of rows costs a worker process each, a minute on a laptop.
    num_batches = -(-len(table) // size)
    drawn = ray.data.from_items(table.to_pylist(), override_num_blocks=num_batches).map_batches(
        TeacherActor,
        batch_size=size,
        compute=ray.data.ActorPoolStrategy(size=min(run.num_workers, num_batches)),
        fn_constructor_args=(plan.config, plan.provenance),
        # Half of what an actor uses: actors that held every CPU would leave none to the tasks that write.
        num_cpus=run.threads_per_worker / 2,
        num_gpus=1 if run.device == "gpu" else 0,
    )
    with progress_of(folder, total=len(table), label="draw latents"):
        drawn.write_parquet(str(folder))


def _draw_here(plan: Plan, table: pa.Table, folder: Path) -> None:
    """The same without a cluster, for debugging."""
    from ray.data.extensions import ArrowTensorArray

    actor = TeacherActor(plan.config, plan.provenance)
    size = plan.config.data.synthesis_batch_size
    for start in range(0, len(table), size):
        part = table.slice(start, size)
        rows = actor({name: part[name].to_numpy() for name in part.column_names})
        columns = {
            name: ArrowTensorArray.from_numpy(values) if values.ndim > 1 else pa.array(values)
            for name, values in rows.items()
        }
        parquet.write_table(pa.table(columns), folder / f"{start:08d}.parquet")
