"""What the clients of the serving benchmark ask for: tasks, sizes and steps mixed, every prompt asked for once.

Shape legend: H W height and width in pixels.
"""

from __future__ import annotations

import base64
import io
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.data.stickers import render, scene
from ladd_ray.models.folder import has_three_tasks

Task = Literal["generate", "edit", "inpaint"]

SIZES: Final = ((64, 64), (64, 96), (96, 64))
"""Width and height."""
STEPS: Final = (1, 2, 4)
_WORLD_SEED: Final = 5


@dataclass(frozen=True, eq=False)
class Ask:
    """One request for one picture."""

    task: Task
    prompt: str
    width: int
    height: int
    steps: int
    seed: int
    image: NDArray[np.uint8] | None = None
    """What to change (H, W, 3)."""
    hole: NDArray[np.bool_] | None = None
    """What to fill of it (H, W)."""

    @property
    def kind(self) -> tuple[str, int, int, int]:
        """What requests share that one call of a stock pipeline can answer."""
        return self.task, self.width, self.height, self.steps

    @property
    def path(self) -> str:
        """Where OpenAI's API takes it."""
        return "/v1/images/generations" if self.task == "generate" else "/v1/images/edits"

    def body(self) -> dict[str, Any]:
        """As JSON of the Images API."""
        body: dict[str, Any] = {"prompt": self.prompt, "seed": self.seed, "num_inference_steps": self.steps}
        if self.image is None:
            return body | {"size": f"{self.width}x{self.height}"}
        body["images"] = [{"image_url": _data_url(self.image)}]
        if self.hole is not None:
            body |= {"mask": {"image_url": _data_url(self.hole.astype(np.uint8) * 255)}, "mask_polarity": "white"}
        return body


def tasks_of(folder: Path) -> tuple[Task, ...]:
    """What an exported student can be asked for."""
    return ("generate", "edit", "inpaint") if has_three_tasks(folder) else ("generate",)


def asks(tasks: Sequence[Task], *, start: int = 0) -> Iterator[Ask]:
    """Requests without end: every kind equally often, in an order that looks like chance and is always the same."""
    kinds = list(itertools.product(tasks, SIZES, STEPS))
    order = random.Random(start)
    prompts = _new_prompts(start)
    seeds = itertools.count(start)
    while True:
        for task, (width, height), steps in order.sample(kinds, len(kinds)):
            yield ask(task, next(prompts), width=width, height=height, steps=steps, seed=next(seeds))


def ask(task: Task, prompt: str, *, width: int = 64, height: int = 64, steps: int, seed: int) -> Ask:
    """One request, with a picture of the embedded world where the task needs one."""
    if task == "generate":
        return Ask(task, prompt, width, height, steps, seed)
    image = render(scene(_WORLD_SEED, seed, height=height, width=width))
    if task == "edit":
        return Ask(task, prompt, width, height, steps, seed, image)
    hole = np.zeros((height, width), dtype=bool)
    hole[height // 4 : height // 2, width // 4 : 3 * width // 4] = True
    return Ask(task, prompt, width, height, steps, seed, image, hole)


def _new_prompts(start: int) -> Iterator[str]:
    """Captions of the embedded world; each comes once, so that a cache of prompts is of no use."""
    known: set[str] = set()
    for index in itertools.count(start):
        caption = scene(_WORLD_SEED, index).caption
        if caption not in known:
            known.add(caption)
            yield caption


def _data_url(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
