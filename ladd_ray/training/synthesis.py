"""Makes the training latents, or finds them: Ray Data over actors that hold the teacher."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from filelock import FileLock
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ladd_ray.config import Config
from ladd_ray.data.latents import INDEX_COLUMN, Provenance, to_row_arrays
from ladd_ray.data.prompts import read_prompts
from ladd_ray.training.preflight import Plan
from ladd_ray.training.sampler import Sampler, worker_device

logger = logging.getLogger(__name__)

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
    """The folder of the plan's latents, drawn now if nobody drew them before.

    A run that wants the latents which another one is drawing waits for them.
    """
    plan.latents.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(plan.latents.with_name(plan.latents.name + ".lock")):
        if plan.latents.is_dir():
            logger.info("latents: reuse %s", plan.latents)
        else:
            _draw(plan)
    return plan.latents


def _draw(plan: Plan) -> None:
    """The folder appears under its name when it is whole."""
    unfinished = plan.latents.with_name(plan.latents.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    config = plan.config
    prompts = read_prompts(config.data.prompts, config.data.num_latents, split="train", seed=config.data.seed)
    table = pa.table({INDEX_COLUMN: np.arange(len(prompts)), "prompt": prompts})
    draw = _draw_on_cluster if config.run.num_workers else _draw_here
    draw(plan, table, unfinished)
    plan.provenance.write(unfinished)
    unfinished.rename(plan.latents)


def _draw_on_cluster(plan: Plan, table: pa.Table, folder: Path) -> None:
    import ray.data

    run, size = plan.config.run, plan.config.data.synthesis_batch_size
    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_arrow([table.slice(start, size) for start in range(0, len(table), size)])
    drawn = dataset.map_batches(
        TeacherActor,
        batch_size=size,
        compute=ray.data.ActorPoolStrategy(size=min(run.num_workers, -(-len(table) // size))),
        fn_constructor_args=(plan.config, plan.provenance),
        # Half of what an actor uses: actors that held every CPU would leave none to the tasks that write.
        num_cpus=run.threads_per_worker / 2,
        num_gpus=1 if run.device == "gpu" else 0,
    )
    with _progress_of(folder, total=len(table)):
        drawn.write_parquet(str(folder))


@contextmanager
def _progress_of(folder: Path, *, total: int) -> Iterator[None]:
    """A bar of the images that have arrived in ``folder``, with images/s and time left."""
    done = threading.Event()
    bar = tqdm(total=total, desc="draw latents", unit="image", mininterval=5)

    def watch() -> None:
        finished = False
        while not finished:
            finished = done.wait(2.0)
            bar.update(_rows_in(folder) - bar.n)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        bar.close()


def _rows_in(folder: Path) -> int:
    """Rows of the files that are complete; one that is being written has no footer yet."""
    rows = 0
    for path in folder.glob("*.parquet"):
        with suppress(pa.ArrowInvalid, FileNotFoundError):
            rows += parquet.read_metadata(path).num_rows
    return rows


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
