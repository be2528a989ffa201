"""Items to stored rows, on actors of a cluster or in this process: what drawing and encoding have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ladd_ray.config import RunConfig
from ladd_ray.data.items import Item
from ladd_ray.data.row_files import Part, require_whole, write_piece
from ladd_ray.data.task_rows import TaskRow, save_empty_prompt, to_table
from ladd_ray.data_sections import TaskDataConfig
from ladd_ray.interfaces import Condition
from ladd_ray.training.shards import progress_of, quiet_ray_data

logger = logging.getLogger(__name__)


class RowMaker(Protocol):
    """Turns items into rows; it holds models, and there is one per worker."""

    def empty_prompt(self) -> Condition:
        """The embeddings of no text, one row."""
        ...

    def rows(self, items: Sequence[Item]) -> list[TaskRow]:
        """Their rows, in order; pictures that cannot be read are left out."""
        ...


@dataclass(frozen=True)
class Job:
    """What is to be made of which parts; it travels to the workers."""

    parts: tuple[Part, ...]
    reader: TaskDataConfig
    """How the parts are read."""
    maker: Callable[[], RowMaker]
    run: RunConfig
    label: str
    """Of the progress bar."""
    total: int | None
    """Rows in the end, where that is known."""


class PartActor:
    """A maker under Ray Data; a row is a part. It writes its own files, so that a kill costs one piece."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        self._maker = job.maker()
        save_empty_prompt(folder, self._maker.empty_prompt())

    def __call__(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Column part becomes column rows: how many this call has written."""
        return {"rows": np.array([self.make(self._job.parts[int(number)]) for number in rows["part"]])}

    def make(self, part: Part) -> int:
        """Write what is missing of a part; returns how many rows that are."""
        written = 0
        for path, items in part.missing(self._folder, self._job.reader):
            made = self._maker.rows(items)
            write_piece(path, to_table(made))
            written += len(made)
        return written


def make_rows(job: Job, folder: Path) -> None:
    """Fill a folder with the rows of all parts; those that are there already stay.

    Raises:
        RuntimeError: parts are missing in the end, or rows are there twice.
    """
    left = [part for part in job.parts if not part.is_complete(folder)]
    if len(left) < len(job.parts):
        logger.info("go on with %s: %d of %d parts are there", folder, len(job.parts) - len(left), len(job.parts))
    with progress_of(folder, total=job.total, label=job.label):
        if left and job.run.num_workers:
            _on_cluster(job, [part.number for part in left], folder)
        elif left:
            actor = PartActor(job, folder)
            for part in left:
                actor.make(part)
    require_whole(folder, job.parts)


def _on_cluster(job: Job, numbers: Sequence[int], folder: Path) -> None:
    import ray.data

    run = job.run
    quiet_ray_data()
    # One block per part. Handing over tables instead of rows costs a worker process each, a minute on a laptop.
    made = ray.data.from_items([{"part": number} for number in numbers], override_num_blocks=len(numbers)).map_batches(
        PartActor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(run.num_workers, len(numbers))),
        fn_constructor_args=(job, folder),
        # Half of what an actor uses: actors that held every CPU would leave none to the tasks around them.
        num_cpus=run.threads_per_worker / 2,
        num_gpus=1 if run.device == "gpu" else 0,
    )
    for _ in made.iter_batches(batch_size=None):
        pass
