"""Many orders drawn at once on one model, step by step together: what an endpoint's replica holds. No Ray, no HTTP.

    studio = Studio(Pipeline.from_pretrained("runs/stickers/export"))
    order = Order("generate", "a red apple", height=64, width=64, seeds=(1, 2), num_inference_steps=4)
    async for drawn in studio.draw(order, num_previews=1):
        Image.fromarray(drawn.pixels).show()

Four threads share the work: one encodes prompts, one prepares (given pictures, noise), one steps (the network), one
decodes. Prompts and latents that come while others are worked on are encoded and decoded together. The event loop does
none of it. An order that nobody waits for any more leaves between two steps.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import torch

from ladd_ray.admission import Admission
from ladd_ray.inference.commission import Commission, Developed, Drawn, Preparation, Sitting
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.gathering import Gathering
from ladd_ray.inference.prompt_cache import Encoded, PromptCache
from ladd_ray.inference.scheduling import BatchLimits, Entry
from ladd_ray.inference.step_loop import Member, StepLoop
from ladd_ray.inference.walk import Order, Walk, advance, begin, pictures

_AT_ONCE: Final = 8
"""Prompts to encode and latents to decode together: more are hardly faster, and the first of them would wait longer."""


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


@dataclass(frozen=True)
class _Read:
    """A prompt that was understood."""

    encoded: Encoded
    num_tokens: int
    seconds: float
    """Encoding it, with all that were encoded together."""


class Studio:
    """A model that draws whatever is asked for, together."""

    def __init__(self, pipeline: TaskPipeline, *, limits: StudioLimits | None = None) -> None:
        """Start the threads; ``close`` ends them."""
        limits = limits or StudioLimits()
        self.pipeline = pipeline
        self.prompts = PromptCache(pipeline.prompt_encoder.encode, size=limits.prompt_cache_size)
        self.admission = Admission(max_backlog_s=limits.max_backlog_s)
        self.loop: StepLoop[Walk] = StepLoop(self._advance, limits=limits.batch)
        self._reader: Gathering[str, _Read] = Gathering(self._read, name="read", most=_AT_ONCE)
        self._preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._decoder: Gathering[Walk, Developed] = Gathering(self._decode, name="decode", most=_AT_ONCE)

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
        reservation = self.admission.admit(order.cost, within_s=within_s, came_back=order.came_back)
        commission = Commission(order, num_previews=num_previews, reservation=reservation)
        entries = []
        try:
            read = await asyncio.wrap_future(self._reader.submit(order.prompt))
            preparing = self._preparer.submit(self._prepare, commission, read)
            sittings = await asyncio.wrap_future(preparing)
            entries = [self._join(sitting, deadline=commission.asked + within_s) for sitting in sittings]
            while (drawn := await commission.hear()) is not None:
                yield drawn
        finally:
            commission.close()
            for entry in entries:
                self.loop.leave(entry)

    def close(self) -> None:
        """End the threads; whoever still waits waits in vain."""
        self._reader.close()
        self._preparer.shutdown(cancel_futures=True)
        self.loop.close()
        self._decoder.close()

    def _read(self, prompts: Sequence[str]) -> list[_Read | Exception]:
        """Prompts as the network reads them, but for those that are too long."""
        encoder, began = self.pipeline.prompt_encoder, time.monotonic()
        lengths = [encoder.num_tokens(prompt) for prompt in prompts]
        fitting = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= encoder.token_limit]
        encoded = iter(self.prompts(fitting))
        seconds = time.monotonic() - began
        return [
            _Read(next(encoded), length, seconds)
            if length <= encoder.token_limit
            else PromptTooLong(
                f"the prompt has {length} tokens, and this model reads {encoder.token_limit}: shorten it"
            )
            for length in lengths
        ]

    def _prepare(self, commission: Commission, read: _Read) -> list[Sitting]:
        """Everything else before the first step."""
        began = time.monotonic()
        walks = begin(self.pipeline, commission.order, prompt=read.encoded.prompt)
        preparation = Preparation(read.seconds, read.encoded.hit, read.num_tokens, time.monotonic() - began)
        return [
            Sitting(commission, index, walk=walk, preparation=preparation, develop=self._develop)
            for index, walk in enumerate(walks)
        ]

    def _join(self, sitting: Sitting, *, deadline: float) -> Entry[Member[Walk]]:
        walk, order = sitting.walk, sitting.commission.order
        pixels = order.height * order.width
        return self.loop.join(walk, sitting, shape=walk.shape, pixels=pixels, steps=walk.steps_left, deadline=deadline)

    def _advance(self, walks: Sequence[Walk]) -> None:
        """One step; returns when it is done, so that its duration says something and the next step is chosen late."""
        advance(self.pipeline, walks)
        if self.pipeline.device.type != "cpu":
            torch.accelerator.current_stream().synchronize()

    def _develop(self, walk: Walk) -> Future[Developed]:
        return self._decoder.submit(walk, kind=walk.shape)

    def _decode(self, walks: Sequence[Walk]) -> list[Developed]:
        began = time.monotonic()
        drawn = pictures(self.pipeline, walks)
        seconds = time.monotonic() - began
        return [Developed(pixels, seconds) for pixels in drawn]
