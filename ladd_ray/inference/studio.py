"""Many orders drawn at once on one model, step by step together: what an endpoint's replica holds. No Ray, no HTTP.

    studio = Studio(Pipeline.from_pretrained("runs/stickers/export"))
    order = Order("generate", "a red apple", height=64, width=64, seeds=(1, 2), num_inference_steps=4)
    async for drawn in studio.draw(order, num_previews=1):
        Image.fromarray(drawn.pixels).show()

Three threads share the work: one prepares (text towers, encoding of pictures), one steps (the network), one decodes.
The event loop does none of it. An order that nobody waits for any more leaves between two steps.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ladd_ray.inference.admission import Admission
from ladd_ray.inference.commission import Commission, Drawn, Preparation, Sitting
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.prompt_cache import PromptCache
from ladd_ray.inference.scheduling import BatchLimits, Entry
from ladd_ray.inference.step_loop import Member, StepLoop
from ladd_ray.inference.walk import Order, Walk, advance, begin, picture


@dataclass(frozen=True)
class StudioLimits:
    """How much a studio takes on."""

    batch: BatchLimits = field(default_factory=BatchLimits)
    max_backlog_s: float = 30.0
    """Predicted seconds of work beyond which nothing more is let in."""
    prompt_cache_size: int = 256
    """Encoded prompts to keep."""


class PromptTooLong(ValueError):  # noqa: N818 - says what is the matter
    """A prompt whose end the model would not read."""


class Studio:
    """A model that draws whatever is asked for, together."""

    def __init__(self, pipeline: TaskPipeline, *, limits: StudioLimits | None = None) -> None:
        """Start the threads; ``close`` ends them."""
        limits = limits or StudioLimits()
        self.pipeline = pipeline
        self.prompts = PromptCache(pipeline.prompt_encoder.encode, size=limits.prompt_cache_size)
        self.admission = Admission(max_backlog_s=limits.max_backlog_s)
        self.loop: StepLoop[Walk] = StepLoop(self._advance, limits=limits.batch)
        self._preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")

    async def draw(
        self, order: Order, *, num_previews: int = 0, within_s: float = math.inf
    ) -> AsyncGenerator[Drawn, None]:
        """The pictures of an order as they get done, each after its previews. Closing the iterator ends the work.

        Args:
            order: What to draw.
            num_previews: Of each picture; it has at most one less than steps.
            within_s: Seconds after which nobody wants it any more.

        Raises:
            Overloaded: it could not be done in time.
            ValueError: the model cannot do what is asked for, or the prompt is too long.
            TimeoutError: it was not done in time.
        """
        reservation = self.admission.admit(order.cost, within_s=within_s)
        commission = Commission(order, num_previews=num_previews, reservation=reservation)
        entries = []
        try:
            events = asyncio.get_running_loop()
            sittings = await events.run_in_executor(self._preparer, self._prepare, commission)
            entries = [self._join(sitting, deadline=commission.asked + within_s) for sitting in sittings]
            while (drawn := await commission.hear()) is not None:
                yield drawn
        finally:
            commission.close()
            for entry in entries:
                self.loop.leave(entry)

    def close(self) -> None:
        """End the threads; whoever still waits waits in vain."""
        self._preparer.shutdown(cancel_futures=True)
        self.loop.close()
        self._decoder.shutdown(cancel_futures=True)

    def _prepare(self, commission: Commission) -> list[Sitting]:
        """Everything before the first step."""
        order, began = commission.order, time.monotonic()
        num_tokens, limit = (
            self.pipeline.prompt_encoder.num_tokens(order.prompt),
            self.pipeline.prompt_encoder.token_limit,
        )
        if num_tokens > limit:
            raise PromptTooLong(f"the prompt has {num_tokens} tokens, and this model reads {limit}: shorten it")
        encoded = self.prompts(order.prompt)
        between = time.monotonic()
        walks = begin(self.pipeline, order, prompt=encoded.prompt)
        preparation = Preparation(between - began, encoded.hit, num_tokens, time.monotonic() - between)
        return [
            Sitting(commission, index, walk=walk, preparation=preparation, decode=self._decode, decoder=self._decoder)
            for index, walk in enumerate(walks)
        ]

    def _join(self, sitting: Sitting, *, deadline: float) -> Entry[Member[Walk]]:
        walk, order = sitting.walk, sitting.commission.order
        pixels = order.height * order.width
        return self.loop.join(walk, sitting, shape=walk.shape, pixels=pixels, steps=walk.steps_left, deadline=deadline)

    def _advance(self, walks: Sequence[Walk]) -> None:
        """One step; returns when it is done, so that its duration says something and the next step is chosen late."""
        began = time.monotonic()
        advance(self.pipeline, walks)
        if self.pipeline.device.type != "cpu":
            torch.accelerator.current_stream().synchronize()
        work = sum(walk.given.height * walk.given.width for walk in walks)
        self.admission.measured(work, seconds=time.monotonic() - began)

    def _decode(self, walk: Walk) -> NDArray[np.uint8]:
        return picture(self.pipeline, walk)
