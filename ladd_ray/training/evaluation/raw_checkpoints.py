"""The model in a checkpoint of a run, finished or not: state to resume from becomes a pipeline folder that can draw."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ladd_ray.config import Config, RunConfig
from ladd_ray.engine.checkpoint import MANIFEST_NAME, verify
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Engine
from ladd_ray.models.folder import has_three_tasks
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.finetuning.loop import NETWORK, build_network
from ladd_ray.training.finetuning.model_export import export_model
from ladd_ray.training.methods import build_method
from ladd_ray.training.run_folder import CONFIG_NAME
from ladd_ray.training.student_export import export_student

PIPELINE = "pipeline"
"""Folder of the model inside the checkpoint: it goes when the checkpoint goes."""


@dataclass(frozen=True)
class Run:
    """What the folder of a run says about itself."""

    config: Config | FinetuneConfig
    """With the folder where it lies now."""
    teacher: str
    """Fingerprint of the model that it started from."""


@dataclass(frozen=True)
class RawCheckpoint:
    """A checkpoint, and what its run says about the model in it."""

    path: Path
    step: int
    run_name: str
    config: Config | FinetuneConfig
    teacher: str
    """Fingerprint of the model that the run started from."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run_name} at step {self.step}"

    @property
    def pipeline(self) -> Path:
        """Its model, once it is exported."""
        return self.path / PIPELINE

    @property
    def levels(self) -> tuple[float, ...]:
        """Noise levels of a student; none of a model that is not distilled."""
        return self.config.noise.levels if isinstance(self.config, Config) else ()

    @property
    def three_tasks(self) -> bool:
        """Whether it edits and inpaints too."""
        if isinstance(self.config, Config):
            return has_three_tasks(self.config.teacher.path) and not self.config.data.generates_only
        return self.config.model.three_tasks or has_three_tasks(self.config.model.path)


def find_checkpoint(folder: Path) -> RawCheckpoint | None:
    """The checkpoint in a folder, with all its files compared with their stamps; None where there is none.

    Raises:
        ValueError: the checkpoint is damaged, or in no folder of a run.
    """
    if not (folder / MANIFEST_NAME).is_file():
        return None
    manifest = verify(folder)
    run = next((run for parent in folder.resolve().parents if (run := run_of(parent))), None)
    if run is None:
        raise ValueError(f"{folder} lies in no run, whose {CONFIG_NAME} says how to build it: leave it where it was")
    return RawCheckpoint(folder, manifest.step, run.config.run.name, config=run.config, teacher=run.teacher)


def run_of(folder: Path) -> Run | None:
    """The run whose folder this is; None where it is none."""
    document = json.loads(path.read_text()) if (path := folder / CONFIG_NAME).is_file() else {}
    if "teacher_fingerprint" not in document:
        return None
    settings = document["config"]
    # It may have been moved since.
    settings["run"] |= {"directory": str(folder.parent), "name": folder.name}
    kind = Config if "student" in settings else FinetuneConfig
    return Run(kind.model_validate(settings), teacher=document["teacher_fingerprint"])


def exported(checkpoint: RawCheckpoint) -> Path:
    """The pipeline folder of a checkpoint, made when it is first asked for."""
    if not checkpoint.pipeline.is_dir():
        # Optimizer state fills the memory that drawing needs, and DeepSpeed joins a process group: both end here.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(export_checkpoint, checkpoint).result()
    return checkpoint.pipeline


def export_checkpoint(checkpoint: RawCheckpoint) -> None:
    """Build the networks as the run does, load the checkpoint, and write the model."""
    config = checkpoint.config
    engine = _engine(config.run)
    if isinstance(config, Config):
        student = build_method(config, engine).student
        student.load(checkpoint.path / "student")
        export_student(
            config, student, checkpoint.pipeline, engine=engine, teacher=checkpoint.teacher, steps=checkpoint.step
        )
        return
    network = build_network(config, engine)
    network.load(checkpoint.path / NETWORK)
    export_model(config, network, checkpoint.pipeline, engine=engine, model=checkpoint.teacher, steps=checkpoint.step)


def _engine(run: RunConfig) -> Engine:
    """An engine of one process that reads what the run's own engine wrote."""
    if run.engine == "local":
        return LocalEngine("cpu", total_steps=run.steps, gradient_accumulation_steps=run.gradient_accumulation_steps)
    from ladd_ray.engine.zero import ZeroEngine

    return ZeroEngine(
        total_steps=run.steps,
        micro_batch_size=run.micro_batch_size,
        gradient_accumulation_steps=run.gradient_accumulation_steps,
    )
