"""Pictures on their way from noise: how one begins, and one step of any number of them, whatever their tasks.

A walk is small: latents, the levels still to visit, what is given, the encoded prompt. So walks of different tasks,
step counts and strengths share one forward, and may join and leave between any two steps. Drawn in company a picture
is what ``TaskPipeline`` draws alone: its noise follows from its own seed. [ours]

Shape legend: b walks, c latent channels, h w height and width of latents, H W of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.algorithm import flow, noise
from ladd_ray.algorithm.tasks import generate_channels
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.images import decode
from ladd_ray.inference.tasks import Given, prepare_edit, prepare_generate, prepare_inpaint
from ladd_ray.interfaces import Condition

Task = Literal["generate", "edit", "inpaint"]

_DECODED_PIXELS: Final = 1024 * 1024
"""To decode at once: an autoencoder's activations are the largest of all networks here."""


@dataclass(frozen=True, eq=False)
class Order:
    """Pictures to draw that differ in nothing but their seeds."""

    task: Task
    prompt: str
    height: int
    """In pixels, as ``width``; of an edit, that of its picture."""
    width: int
    seeds: tuple[int, ...]
    """One for each picture."""
    num_inference_steps: int
    text_guidance: float | None = None
    image_guidance: float | None = None
    image: NDArray[np.uint8] | None = None
    """What to edit (H, W, 3)."""
    hole: NDArray[np.bool_] | None = None
    """Where to fill it (H, W), True in the hole."""
    model: str | None = None
    """Fingerprint of the model whose facts it was checked against; None of an order to whoever draws."""

    came_back: bool = False
    """Whether it says that it was turned away before, when there was too much to do."""

    @property
    def cost(self) -> int:
        """Work to do, in pixels times steps; decoding counts as one more step."""
        return self.height * self.width * (self.num_inference_steps + 1) * len(self.seeds)


@dataclass(eq=False)
class Walk:
    """One picture on its way."""

    condition: Condition
    """One row, complete: task channels and strengths are there whenever the network reads them."""
    given: Given
    sigmas: tuple[float, ...]
    """Levels to visit, with the final 0."""
    noises: tuple[Tensor, ...]
    """Of the start and, with fresh noise, of every further step, (1, c, h, w) each."""
    x_sigma: Tensor
    """Where it stands (1, c, h, w); after the last step, x0."""
    x0: Tensor
    """The last step's estimate of what it will become (1, c, h, w)."""
    step: int = 0
    """Steps done."""

    @property
    def steps_left(self) -> int:
        """Steps to do."""
        return len(self.sigmas) - 1 - self.step

    @property
    def shape(self) -> tuple[int, ...]:
        """What walks of one forward share (c, h, w)."""
        return tuple(self.x_sigma.shape[1:])

    def next_noise(self) -> Tensor:
        """Fresh noise (1, c, h, w) of the level after this step; that of the final 0 does not matter."""
        return self.noises[self.step + 1] if self.steps_left > 1 else self.noises[0]


@torch.no_grad()
def begin(pipeline: TaskPipeline, order: Order, *, prompt: Condition) -> list[Walk]:
    """One walk for each seed of an order, whose encoded prompt is one row.

    Raises:
        ValueError: the model cannot do what is asked for.
    """
    strengths = pipeline.strengths(order.task, text=order.text_guidance, image=order.image_guidance)
    sigmas = pipeline.sigmas(order.num_inference_steps)
    given = prepare(pipeline, order)
    shape = pipeline.latent_shape(given.height, given.width)
    channels = given.task_channels
    if channels is None and pipeline.knows_tasks:
        channels = generate_channels(torch.zeros(1, *shape))
    rows = None if strengths is None else strengths.rows(1)
    condition = prompt._replace(task_channels=channels, strengths=rows).to(pipeline.device)
    num_noises = len(sigmas) - 1 if pipeline.fresh_noise else 1

    def start(seed: int) -> Walk:
        source = noise.per_step(shape, seed=seed, sample_ids=(0,), device=pipeline.device)
        noises = tuple(source(step) for step in range(num_noises))
        return Walk(condition, given, sigmas, noises, x_sigma=noises[0], x0=noises[0])

    return [start(seed) for seed in order.seeds]


def prepare(pipeline: TaskPipeline, order: Order) -> Given:
    """What the walks of an order start from.

    Raises:
        ValueError: the model only generates, or picture and hole do not fit each other.
    """
    if order.task == "generate":
        return prepare_generate(order.height, order.width)
    pipeline.require_tasks()
    assert order.image is not None, "an edit has a picture"
    if order.task == "edit":
        return prepare_edit(pipeline.autoencoder, [order.image])
    assert order.hole is not None, "filling has a hole"
    return prepare_inpaint(pipeline.autoencoder, [order.image], [order.hole])


@torch.no_grad()
def advance(pipeline: TaskPipeline, walks: Sequence[Walk]) -> None:
    """One step of every walk, in one forward; they are of one shape, and none has arrived."""
    x_sigma = torch.cat([walk.x_sigma for walk in walks])
    sigma, next_sigma = (x_sigma.new_tensor([walk.sigmas[walk.step + offset] for walk in walks]) for offset in (0, 1))
    condition = Condition.concatenate(*(walk.condition for walk in walks))
    direction = pipeline.velocity(x_sigma, sigma, condition)
    x0 = flow.predict_x0(x_sigma, direction, sigma)
    fresh = torch.cat([walk.next_noise() for walk in walks]) if pipeline.fresh_noise else x0 + direction
    next_x = flow.add_noise(x0, fresh, next_sigma)
    for walk, own_x0, own_x in zip(walks, x0.split(1), next_x.split(1), strict=True):
        walk.x0, walk.x_sigma, walk.step = own_x0, own_x, walk.step + 1


def pictures(pipeline: TaskPipeline, walks: Sequence[Walk]) -> list[NDArray[np.uint8]]:
    """What walks of one shape have come to (H, W, 3) each, with every given pixel outside of a hole as it was."""
    given = walks[0].given
    at_once = max(1, _DECODED_PIXELS // (given.height * given.width))
    drawn = decode(pipeline.autoencoder, torch.cat([walk.x0 for walk in walks]), batch_size=at_once)
    return [walk.given.kept(drawn[place : place + 1])[0] for place, walk in enumerate(walks)]
