"""A model of the settings, loaded and warmed up."""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import numpy as np

from ladd_ray.inference import Pipeline, TeacherPipeline
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.facts import ModelFacts, facts_of
from ladd_ray.inference.scheduling import BatchLimits
from ladd_ray.inference.studio import Studio, StudioLimits
from ladd_ray.inference.walk import Order
from ladd_ray.models.embedded import committed_student
from ladd_ray.models.export import LEVELS_KEY
from ladd_ray.models.folder import fingerprint, scheduler_config

from .settings import BatchSettings, ModelSettings

logger = logging.getLogger("ray.serve")

_GUIDANCE: Final = 4.0
"""Text guidance of a model of many steps where nothing is said."""


def load(settings: ModelSettings) -> tuple[TaskPipeline, ModelFacts]:
    """The model and what it can do.

    Raises:
        ValueError: no such folder, or not of the Stable Diffusion 3 family.
    """
    began = time.monotonic()
    path = committed_student() if settings.path is None else settings.path
    device = "cuda" if settings.uses_gpu else "cpu"
    precision = settings.precision or ("bf16" if settings.uses_gpu else "fp32")
    pipeline: TaskPipeline
    if LEVELS_KEY in scheduler_config(path):
        pipeline = Pipeline.from_pretrained(path, device=device, precision=precision)
    else:
        pipeline = TeacherPipeline.from_pretrained(path, guidance_scale=_GUIDANCE, device=device, precision=precision)
        logger.warning("%s is no distilled student: it takes %d guided steps", path, pipeline.default_steps)
    if settings.uses_gpu and settings.compile:
        pipeline.compile_blocks()
    elif settings.bit_equal and not settings.uses_gpu:
        pipeline.make_rows_independent()
    facts = facts_of(pipeline, fingerprint=fingerprint(path))
    logger.info("%s has loaded %s in %.1f s", settings.name, path, time.monotonic() - began)
    return pipeline, facts if settings.steps is None else replace(facts, default_steps=settings.steps)


def open_studio(pipeline: TaskPipeline, settings: BatchSettings) -> Studio:
    """A studio for the model."""
    batch = BatchLimits(max_rows=settings.max_rows, max_pixels=settings.max_pixels, patience_s=settings.patience_s)
    limits = StudioLimits(batch, max_backlog_s=settings.max_backlog_s, prompt_cache_size=settings.prompt_cache_size)
    return Studio(pipeline, limits=limits)


async def warm_up(studio: Studio, facts: ModelFacts, *, rows: int) -> None:
    """Draw every task once, then a full batch: compiles what is to be compiled, and measures how fast it draws."""
    began = time.monotonic()
    side = facts.native_size
    first = Order("generate", "a red apple", side, side, seeds=(0,), num_inference_steps=facts.default_steps)
    orders = [first]
    if facts.edits:
        image, hole = np.full((side, side, 3), 127, np.uint8), np.ones((side, side), bool)
        orders += [replace(first, task="edit", image=image), replace(first, task="inpaint", image=image, hole=hole)]
    for order in (*orders, replace(first, seeds=tuple(range(rows)))):
        async with aclosing(studio.draw(order)) as drawings:
            async for _ in drawings:
                pass
    logger.info("%s has warmed up in %.1f s", facts.fingerprint, time.monotonic() - began)
