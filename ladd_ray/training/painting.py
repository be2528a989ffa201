"""Who draws what in an evaluation, shared out over the workers.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from ladd_ray.config import Precision
from ladd_ray.inference.images import decode
from ladd_ray.inference.tasks import Given, prepare_edit, prepare_generate, prepare_inpaint
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.strengths import Strengths
from ladd_ray.training.sampler import Sampler, worker_device
from ladd_ray.training.shards import quiet_ray_data

Rows = dict[str, NDArray[Any]]
Picture = NDArray[np.uint8]
Prompt = TypeVar("Prompt")


@dataclass(frozen=True)
class Contender:
    """One way to draw the evaluation's prompts: a row of samples.png and of the table."""

    name: str
    label: str
    model: str
    """Pipeline folder or hub name."""
    seed: int
    num_inference_steps: int
    guidance_scale: float | None = None
    """Euler steps under this guidance (1 is none); None is the few-step sampler."""
    shift: float = 1.0
    """Timestep shift of Euler steps."""
    image_guidance_scale: float = 1.0
    """Of Euler steps that edit: guidance by the picture, 1 is none."""
    levels: tuple[float, ...] = ()
    """Trained noise levels of the few-step sampler."""
    untrained: bool = False
    """With random weights in place of the model's own."""
    strengths: Strengths | None = None
    """Where the knobs of the few-step sampler's model stand; None for the defaults of the task."""


@dataclass(frozen=True)
class Sample:
    """A picture to draw; its number and the contender's seed decide its noise."""

    number: int
    prompt: str
    height: int
    width: int
    source: Picture | None = field(default=None, compare=False)
    """Picture (h, w, 3) to edit, or whose hole is to be filled; None draws from the prompt alone."""
    hole: NDArray[np.bool_] | None = field(default=None, compare=False)
    """(h, w), True where to draw; None for the whole picture."""


def with_repeats(prompts: Sequence[Prompt], *, count: int, times: int) -> list[Prompt]:
    """All prompts once, then the first ``count`` of them again, ``times`` in a row each."""
    return [*prompts, *(prompt for prompt in prompts[:count] for _ in range(times))]


@dataclass(frozen=True)
class Crew:
    """Who draws, and how much at once."""

    num_workers: int
    """Ray actors; 0 is this process."""
    device: Literal["cpu", "gpu"]
    threads: int
    precision: Precision
    batch_size: int


class Painter:
    """Draws for any contender and holds the model of the last one; one per worker."""

    def __init__(self, crew: Crew) -> None:
        torch.set_num_threads(crew.threads)
        self._crew = crew
        self._loaded: tuple[str, bool] | None = None
        self._sampler: Sampler | None = None

    @torch.no_grad()
    def paint(self, contender: Contender, samples: Sequence[Sample]) -> NDArray[np.uint8]:
        """Images (n, h, w, 3) of samples of one size and one task."""
        sampler = self._model(contender)
        given = _given(sampler.autoencoder, samples)
        assert all((sample.height, sample.width) == (given.height, given.width) for sample in samples)
        prompt = sampler.encoder.encode([sample.prompt for sample in samples])
        told = None if contender.strengths is None else contender.strengths.rows(len(samples), device=sampler.device)
        condition = prompt._replace(task_channels=given.task_channels, strengths=told)
        return given.kept(decode(sampler.autoencoder, _latents(sampler, contender, condition, samples)))

    def _model(self, contender: Contender) -> Sampler:
        wanted = (contender.model, contender.untrained)
        if self._sampler is None or self._loaded != wanted:
            # The old one goes first: two large models would not fit.
            self._sampler = None
            self._sampler = Sampler(
                contender.model,
                precision=self._crew.precision,
                device=worker_device(self._crew.device),
                untrained=contender.untrained,
            )
            self._loaded = wanted
        return self._sampler


def _given(autoencoder: Autoencoder, samples: Sequence[Sample]) -> Given:
    sources = [sample.source for sample in samples if sample.source is not None]
    holes = [sample.hole for sample in samples if sample.hole is not None]
    assert len(sources) in (0, len(samples)) and len(holes) in (0, len(sources)), "samples of several tasks"
    if holes:
        return prepare_inpaint(autoencoder, sources, holes)
    if sources:
        return prepare_edit(autoencoder, sources)
    return prepare_generate(samples[0].height, samples[0].width)


def _latents(sampler: Sampler, contender: Contender, condition: Condition, samples: Sequence[Sample]) -> Tensor:
    """(n, c, h/8, w/8)."""
    numbers, size = [sample.number for sample in samples], {"height": samples[0].height, "width": samples[0].width}
    if contender.guidance_scale is None:
        return sampler.student(
            condition, numbers, **size, seed=contender.seed, levels=contender.levels,
            num_inference_steps=contender.num_inference_steps,
        )  # fmt: skip
    return sampler.teacher(
        condition, numbers, **size, seed=contender.seed, shift=contender.shift,
        num_inference_steps=contender.num_inference_steps, guidance_scale=contender.guidance_scale,
        image_guidance_scale=contender.image_guidance_scale,
    )  # fmt: skip


class Task(NamedTuple):
    """A batch for a painter: pictures of one contender and of one size."""

    contender: int
    """Place in the list of contenders."""
    samples: list[int]
    """Places in the list of samples."""


def paint(
    contenders: Sequence[Contender], samples: Sequence[Sample], *, crew: Crew
) -> Iterator[tuple[Contender, list[Picture]]]:
    """All pictures (h, w, 3) of a contender in the order of the samples, one contender after the other.

    A contender is handed on as soon as its pictures are there, so that those of all need not be held at once.
    """
    tasks = list(_tasks(contenders, samples, batch_size=crew.batch_size))
    drawn = (_on_cluster if crew.num_workers else _here)(contenders, samples, tasks=tasks, crew=crew)
    progress = tqdm(drawn, total=len(contenders) * len(samples), desc="evaluate", unit="image", mininterval=5)
    waiting: dict[int, dict[int, Picture]] = defaultdict(dict)
    for contender, place, picture in progress:
        waiting[contender][place] = picture
        if len(waiting[contender]) == len(samples):
            pictures = waiting.pop(contender)
            yield contenders[contender], [pictures[number] for number in range(len(samples))]


def paint_all(
    contenders: Sequence[Contender], samples: Sequence[Sample], *, crew: Crew
) -> dict[str, NDArray[np.uint8]]:
    """Every contender's images (n, h, w, 3) of samples that have one size, by its name."""
    painted = {contender.name: np.stack(pictures) for contender, pictures in paint(contenders, samples, crew=crew)}
    return {contender.name: painted[contender.name] for contender in contenders}


def _tasks(contenders: Sequence[Contender], samples: Sequence[Sample], *, batch_size: int) -> Iterator[Task]:
    """Contender by contender, so that painters rarely change their model."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        by_size[sample.height, sample.width].append(place)
    for contender in range(len(contenders)):
        for places in by_size.values():
            for start in range(0, len(places), batch_size):
                yield Task(contender, places[start : start + batch_size])


Drawn = Iterator[tuple[int, int, Picture]]
"""Place of the contender, place of the sample, picture (h, w, 3)."""


def _here(contenders: Sequence[Contender], samples: Sequence[Sample], *, tasks: Sequence[Task], crew: Crew) -> Drawn:
    painter = Painter(crew)
    for task in tasks:
        pictures = painter.paint(contenders[task.contender], [samples[place] for place in task.samples])
        yield from ((task.contender, place, picture) for place, picture in zip(task.samples, pictures, strict=True))


class PaintingActor:
    """A painter under Ray Data; a row is a task."""

    def __init__(
        self, contenders: Sequence[Contender], samples: Sequence[Sample], tasks: Sequence[Task], crew: Crew
    ) -> None:
        self._contenders, self._samples, self._tasks = contenders, samples, tasks
        self._painter = Painter(crew)

    def __call__(self, rows: Rows) -> Rows:
        """Column task becomes contender, sample and picture, a row for each picture of the task."""
        (number,) = rows["task"].tolist()
        contender, places = self._tasks[number]
        pictures = self._painter.paint(self._contenders[contender], [self._samples[place] for place in places])
        # Bytes: sizes may differ between tasks, which tensor columns do not allow.
        column = np.array([picture.tobytes() for picture in pictures], dtype=object)
        return {"contender": np.full(len(places), contender), "sample": np.array(places), "picture": column}


def _on_cluster(
    contenders: Sequence[Contender], samples: Sequence[Sample], *, tasks: Sequence[Task], crew: Crew
) -> Drawn:
    import ray.data

    quiet_ray_data()
    rows = [{"task": number} for number in range(len(tasks))]
    drawn = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        PaintingActor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(crew.num_workers, len(tasks))),
        fn_constructor_args=(list(contenders), list(samples), list(tasks), crew),
        # Half of what an actor uses, as in the synthesis of latents.
        num_cpus=crew.threads / 2,
        num_gpus=1 if crew.device == "gpu" else 0,
    )
    for row in drawn.iter_rows():
        sample = samples[row["sample"]]
        picture = np.frombuffer(row["picture"], dtype=np.uint8).reshape(sample.height, sample.width, 3)
        yield row["contender"], row["sample"], picture
