"""Makes the training set of a distillation, or finds it: Ray Data over actors that hold the teacher."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ladd_ray.config import Config
from ladd_ray.data.row_files import parts_of
from ladd_ray.data.training_rows import reader_settings, training_shards
from ladd_ray.training.cluster import cluster
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.row_making import Job, make_rows
from ladd_ray.training.shards import RowCounter, make_once, unfinished_folder
from ladd_ray.training.synthesis_report import Inventory, draw_sheet
from ladd_ray.training.teaching import Teacher

logger = logging.getLogger(__name__)


def ensure_latents(plan: Plan) -> Path:
    """The folder of the plan's rows; what is missing of it is made now."""
    config = plan.config
    job = Job(
        parts=tuple(parts_of(training_shards(config.data))),
        reader=reader_settings(config.data),
        maker=partial(Teacher, config),
        run=config.run,
        label="draw latents",
        total=None if config.data.reads_files else config.data.num_latents,
    )
    return make_once(plan.latents, plan.provenance, partial(make_rows, job), setting="data.latents")


@dataclass(frozen=True)
class Synthesis:
    """What a synthesis left behind."""

    folder: Path
    sheet: Path
    """A picture of the first rows."""
    inventory: Inventory
    drawn: int
    """Rows that were made now and not found."""
    seconds: float
    """With the start of the workers."""

    def describe(self) -> str:
        """For people."""
        speed = "none drawn now"
        if self.drawn:
            speed = f"{self.drawn} of them now, in {self.seconds:.0f} s: {self.drawn / self.seconds:.1f} images/s"
        return f"{self.inventory.describe()}\n{speed}\nrows in {self.folder}\nfirst rows in {self.sheet}"


def synthesize(config: Config) -> Synthesis:
    """Make the set that a distillation of the same configuration trains on, or go on with it.

    Raises:
        ValueError: something in the configuration, the data or on the cluster is wrong; the message says what to do.
    """
    plan = prepare(config)
    logger.info("%s", plan.describe())
    there = RowCounter(plan.latents if plan.latents.is_dir() else unfinished_folder(plan.latents)).rows()
    began = time.monotonic()
    with cluster(plan.config) if plan.config.run.num_workers else nullcontext():
        folder = ensure_latents(plan)
    seconds = time.monotonic() - began
    inventory = Inventory.of(folder)
    drawn = sum(inventory.tasks.values()) - there
    return Synthesis(folder, draw_sheet(plan.config, folder), inventory, drawn, seconds)
