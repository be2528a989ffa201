"""Who draws what in an evaluation, shared out over the workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ladd_ray.config import Config
from ladd_ray.inference.images import decode
from ladd_ray.training.sampler import Sampler, worker_device


@dataclass(frozen=True)
class Contender:
    """One way to draw the evaluation's prompts: a row of samples.png and of the table."""

    name: str
    label: str
    student: bool
    """Draws with the distilled weights, else with the teacher's."""
    num_inference_steps: int
    guidance_scale: float | None
    """Euler steps under this guidance (1 is none); None is the few-step sampler."""
    seed_offset: int = 0
    """Other noise than everybody else's, for the reference."""


@dataclass(frozen=True)
class Job:
    """What everybody draws."""

    prompts: list[str]
    sample_ids: list[int]

    def parts(self, size: int) -> Iterator[Job]:
        """The job in pieces of ``size`` images."""
        for start in range(0, len(self.prompts), size):
            yield Job(self.prompts[start : start + size], self.sample_ids[start : start + size])


def contenders(config: Config) -> list[Contender]:
    """The reference, the teacher, the untrained student, and the student at every number of steps."""
    steps, guidance = config.data.num_inference_steps, config.data.guidance_scale
    most = max(config.evaluation.student_steps)
    fixed = [
        Contender("reference", "reference", False, steps, guidance, seed_offset=1),
        Contender("teacher_guided", f"teacher, {steps} steps, guidance {guidance:g}", False, steps, guidance),
        Contender(f"teacher_unguided_{most}", f"teacher, {most} steps, unguided (Euler)", False, most, 1.0),
        Contender(f"untrained_student_{most}", f"untrained student, {most} steps", False, most, None),
    ]
    students = [
        Contender(f"student_{count}", f"student, {count} step{'s' if count > 1 else ''}", True, count, None)
        for count in config.evaluation.student_steps
    ]
    return [*fixed, *students]


class Painter:
    """Holds teacher and student; one per worker."""

    def __init__(self, config: Config, *, student: str, shift: float) -> None:
        torch.set_num_threads(config.run.threads_per_worker)
        device = worker_device(config.run.device)
        precision = config.teacher.precision
        self._config, self._shift = config, shift
        self._teacher = Sampler(config.teacher.path, precision=precision, device=device)
        self._student = Sampler(student, precision=precision, device=device)

    @torch.no_grad()
    def paint(self, contender: Contender, job: Job) -> NDArray[np.uint8]:
        """Images (n, h, w, 3) of this part of the job."""
        sampler = self._student if contender.student else self._teacher
        prompt = sampler.encoder.encode(job.prompts)
        seed = self._config.evaluation.seed + contender.seed_offset
        height, width = self._config.data.height, self._config.data.width
        if contender.guidance_scale is None:
            latents = sampler.student(
                prompt, job.sample_ids, height=height, width=width, seed=seed,
                levels=self._config.noise.levels, num_inference_steps=contender.num_inference_steps,
            )  # fmt: skip
        else:
            latents = sampler.teacher(
                prompt, job.sample_ids, height=height, width=width, seed=seed, shift=self._shift,
                num_inference_steps=contender.num_inference_steps, guidance_scale=contender.guidance_scale,
            )  # fmt: skip
        return decode(sampler.autoencoder, latents)


def paint_all(
    config: Config, players: Sequence[Contender], job: Job, *, student: str, shift: float
) -> dict[str, NDArray[np.uint8]]:
    """Every contender's images of the whole job, by its name."""
    tasks = [(player, part) for player in players for part in job.parts(config.evaluation.batch_size)]
    paint = _on_cluster if config.run.num_workers else _here
    painted = paint(config, tasks, student=student, shift=shift)
    progress = tqdm(painted, total=len(tasks), desc="evaluate", unit="batch", mininterval=5)
    images: dict[str, list[NDArray[np.uint8]]] = {player.name: [] for player in players}
    for (player, _), part in zip(tasks, progress, strict=True):
        images[player.name].append(part)
    return {name: np.concatenate(parts) for name, parts in images.items()}


def _here(
    config: Config, tasks: Sequence[tuple[Contender, Job]], *, student: str, shift: float
) -> Iterator[NDArray[np.uint8]]:
    painter = Painter(config, student=student, shift=shift)
    return (painter.paint(*task) for task in tasks)


def _on_cluster(
    config: Config, tasks: Sequence[tuple[Contender, Job]], *, student: str, shift: float
) -> Iterator[NDArray[np.uint8]]:
    import ray
    from ray.util import ActorPool

    run = config.run
    remote: Any = ray.remote(num_cpus=run.threads_per_worker, num_gpus=1 if run.device == "gpu" else 0)(Painter)
    pool: Any = ActorPool([remote.remote(config, student=student, shift=shift) for _ in range(run.num_workers)])
    painted: Iterator[NDArray[np.uint8]] = pool.map(lambda actor, task: actor.paint.remote(*task), tasks)
    return painted
