"""The same student as Ray's official Stable Diffusion example serves it: a stock diffusers pipeline behind an ingress.

``single`` calls the pipeline once for each request, ``batched`` collects requests with ``@serve.batch`` and calls it
once for each kind among them: one call has one size and one number of steps. Both skip what a student does not need
(guidance, T5 padding beyond its tokenizer's length), so that they compute what ours computes.

A student that edits and inpaints is a stock inpainting pipeline. Its text-to-image part, folded, generates. Stock
diffusers cannot edit by instruction with it: an edit is asked of it as filling the whole picture, which is the same
work and another picture.
"""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from diffusers import StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline
from fastapi import FastAPI, Request
from PIL import Image
from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from benchmarks.serving_requests import Ask, Task
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import T5_TOKENS, has_three_tasks
from ladd_ray.models.widening import fold_generation

BATCH_WAIT_S: Final = 0.01
"""Ray's default."""
MOST_AT_ONCE: Final = 1024


class StockStudent:
    """An exported student as stock pipelines."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)
        self._levels = exported_levels(folder)
        self._inpaint = StableDiffusion3InpaintPipeline.from_pretrained(folder) if has_three_tasks(folder) else None
        self._generate = _generator(folder, self._inpaint)
        tokenizer = self._generate.tokenizer_3
        self._t5_tokens = min(T5_TOKENS, tokenizer.model_max_length) if tokenizer is not None else 0
        for pipeline in filter(None, (self._generate, self._inpaint)):
            pipeline.set_progress_bar_config(disable=True)

    def draw(self, asks: Sequence[Ask]) -> list[Image.Image]:
        """Pictures of requests of one kind, in one call."""
        first = asks[0]
        options: dict[str, Any] = {
            "prompt": [ask.prompt for ask in asks],
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.steps,
            "sigmas": list(sampling_levels(self._levels, first.steps)),
            "guidance_scale": 1.0,
            "max_sequence_length": self._t5_tokens,
            "generator": [torch.Generator().manual_seed(ask.seed) for ask in asks],
        }
        if first.task == "generate":
            return list(self._generate(**options).images)
        assert self._inpaint is not None, "only a student of three tasks is asked to change pictures"
        images = [Image.fromarray(ask.image) for ask in asks if ask.image is not None]
        masks = [Image.fromarray(_hole(ask)) for ask in asks]
        return list(self._inpaint(**options, image=images, mask_image=masks, strength=1.0).images)


class SingleModel:
    """One call for each request."""

    def __init__(self, folder: str) -> None:
        self._student = StockStudent(folder)
        # Ray Serve runs this in a pool of threads, and a pipeline's scheduler remembers where it is.
        self._alone = threading.Lock()

    def draw(self, ask: Ask) -> Image.Image:
        """The picture."""
        with self._alone:
            return self._student.draw([ask])[0]


class BatchedModel:
    """One call for each kind of request in a batch."""

    def __init__(self, folder: str, most: int) -> None:
        self._student = StockStudent(folder)
        self.draw.set_max_batch_size(most)

    @ray_serve.batch(max_batch_size=16, batch_wait_timeout_s=BATCH_WAIT_S)
    async def draw(self, asks: list[Ask]) -> list[Image.Image]:
        """The pictures."""
        return await asyncio.to_thread(self._draw, asks)

    def _draw(self, asks: Sequence[Ask]) -> list[Image.Image]:
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, ask in enumerate(asks):
            groups[ask.kind].append(place)
        drawn: dict[int, Image.Image] = {}
        for places in groups.values():
            drawn |= zip(places, self._student.draw([asks[place] for place in places]), strict=True)
        return [drawn[place] for place in range(len(asks))]


class Ingress:
    """HTTP: JSON of the Images API in, JSON with base64 PNG out."""

    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._model = model

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve."""
        app = FastAPI()
        app.post("/v1/images/generations")(self.answer)
        app.post("/v1/images/edits")(self.answer)
        return app

    async def answer(self, http: Request) -> dict[str, Any]:
        """One picture."""
        image = await self._model.draw.remote(_ask(await http.json()))
        return {"data": [{"b64_json": await asyncio.to_thread(_packed, image)}]}


def single(folder: str, *, num_replicas: int) -> Application:
    """A call for each request."""
    deployment = ray_serve.deployment(name="single-model", num_replicas=num_replicas)
    return _behind_ingress(deployment(SingleModel).bind(folder), name="single")


def batched(folder: str, *, num_replicas: int, max_batch_size: int) -> Application:
    """A call for each kind of request in a batch."""
    deployment = ray_serve.deployment(
        name="batched-model", num_replicas=num_replicas, max_ongoing_requests=2 * max_batch_size
    )
    return _behind_ingress(deployment(BatchedModel).bind(folder, max_batch_size), name="batched")


def _behind_ingress(model: Application, *, name: str) -> Application:
    deployment = ray_serve.deployment(name=f"{name}-ingress", max_ongoing_requests=MOST_AT_ONCE)
    return deployment(ray_serve.ingress()(Ingress)).bind(model)


def _generator(folder: str, inpaint: StableDiffusion3InpaintPipeline | None) -> StableDiffusion3Pipeline:
    if inpaint is None:
        return StableDiffusion3Pipeline.from_pretrained(folder)
    return StableDiffusion3Pipeline(**inpaint.components | {"transformer": fold_generation(inpaint.transformer).eval()})


def _ask(body: dict[str, Any]) -> Ask:
    """Without any of the checks that strangers would make necessary."""
    steps, seed = body["num_inference_steps"], body["seed"]
    if "images" not in body:
        width, height = (int(side) for side in body["size"].split("x"))
        return Ask("generate", body["prompt"], width, height, steps, seed)
    image = np.asarray(_opened(body["images"][0]).convert("RGB"))
    hole = np.asarray(_opened(body["mask"])) > 0 if "mask" in body else None
    task: Task = "edit" if hole is None else "inpaint"
    return Ask(task, body["prompt"], image.shape[1], image.shape[0], steps, seed, image, hole)


def _opened(reference: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(reference["image_url"].partition(",")[2])))


def _hole(ask: Ask) -> Any:
    """White where to draw (H, W)."""
    return np.full((ask.height, ask.width), 255, np.uint8) if ask.hole is None else ask.hole.astype(np.uint8) * 255


def _packed(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
