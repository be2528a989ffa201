"""Drawn pictures as files, as JSON and as events of a stream."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

from ladd_ray.inference.commission import Drawn, Timings
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.files import Provenance, to_file
from ladd_ray.inference.walk import Order

from .errors import ApiError, failed
from .schemas import CompletedEvent, ImageData, ImageRequest, ImagesResponse, Metrics, PartialEvent, Usage

logger = logging.getLogger("ray.serve")

EVENTS: Final = {"generate": "image_generation", "edit": "image_edit", "inpaint": "image_edit"}
"""What a task's events are called."""


Packed = Callable[[str, float], None]
"""Hears of every file: its format, and the seconds that its making took."""


def unheard(_format: str, _seconds: float) -> None:
    """Where nobody counts."""


@dataclass(frozen=True, eq=False)
class Job:
    """A request on its way to an answer."""

    request: ImageRequest
    order: Order
    facts: ModelFacts
    packed: Packed = unheard
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def size(self) -> str:
        """Of the pictures."""
        return f"{self.order.width}x{self.order.height}"

    def usage(self, timings: Timings, *, pictures: int) -> Usage:
        """Of so many pictures."""
        patches = (self.order.width // self.facts.size_multiple) * (self.order.height // self.facts.size_multiple)
        source = 0 if self.order.image is None else patches
        return Usage.of(text=timings.preparation.prompt_tokens, source=source, drawn=pictures * patches)

    def provenance(self, drawn: Drawn) -> Provenance:
        """What the file of a finished picture says."""
        order = self.order
        return Provenance(
            model=self.facts.fingerprint,
            task=order.task,
            prompt=order.prompt,
            seed=order.seeds[drawn.index],
            height=order.height,
            width=order.width,
            num_inference_steps=order.num_inference_steps,
            sigmas=drawn.sigmas,
            text_guidance=order.text_guidance,
            image_guidance=order.image_guidance,
            given=_digest(order),
        )


@dataclass(frozen=True)
class _File:
    """A picture as the answer carries it."""

    text: str
    """Base64."""
    seconds: float
    """That its making took."""


async def respond(job: Job, drawings: AsyncGenerator[Drawn, None]) -> ImagesResponse:
    """The answer when all pictures are done, in the order of their seeds."""
    files: dict[int, tuple[Drawn, _File]] = {}
    async for drawn in drawings:
        files[drawn.index] = (drawn, await _file(job, drawn))
    done = [files[index] for index in sorted(files)]
    metrics = [_metrics(drawn, file) for drawn, file in done]
    return ImagesResponse(
        created=job.created,
        data=[_data(job, drawn, file) for drawn, file in done],
        output_format=job.request.output_format,
        size=job.size,
        usage=job.usage(_timings(done[0][0]), pictures=len(done)),
        metrics=max(metrics, key=lambda one: one.queue_ms + one.denoise_ms),
    )


async def stream(job: Job, drawings: AsyncGenerator[Drawn, None]) -> AsyncGenerator[bytes, None]:
    """Server-sent events: each picture as soon as it is done, after its previews. An error is the last event."""
    try:
        async with aclosing(drawings) as following:
            async for drawn in following:
                event = await _event(job, drawn)
                yield f"event: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()
    except Exception as error:
        # The status is sent: only an event can still say that it failed.
        if not isinstance(error, ApiError):
            logger.exception("a stream failed")
        refusal = error.refusal if isinstance(error, ApiError) else failed()
        yield f"event: error\ndata: {refusal.envelope.model_dump_json()}\n\n".encode()


async def _event(job: Job, drawn: Drawn) -> PartialEvent | CompletedEvent:
    file, kind = await _file(job, drawn), EVENTS[job.order.task]
    output_format = job.request.output_format
    if drawn.partial is not None:
        return PartialEvent(
            type=f"{kind}.partial_image",
            b64_json=file.text,
            partial_image_index=drawn.partial,
            index=drawn.index,
            created_at=job.created,
            output_format=output_format,
            size=job.size,
        )
    return CompletedEvent(
        type=f"{kind}.completed",
        b64_json=file.text,
        index=drawn.index,
        seed=job.order.seeds[drawn.index],
        created_at=job.created,
        output_format=output_format,
        size=job.size,
        usage=job.usage(_timings(drawn), pictures=1),
        metrics=_metrics(drawn, file),
    )


async def _file(job: Job, drawn: Drawn) -> _File:
    """Made in another thread: packing a large PNG takes longer than drawing it."""
    began = time.monotonic()
    text = await asyncio.to_thread(_encode, job, drawn)
    file = _File(text, time.monotonic() - began)
    job.packed(job.request.output_format, file.seconds)
    return file


def _encode(job: Job, drawn: Drawn) -> str:
    wanted = job.request.metadata and drawn.partial is None
    file = to_file(
        Image.fromarray(drawn.pixels),
        file_format=job.request.output_format,
        quality=job.request.output_compression,
        provenance=job.provenance(drawn) if wanted else None,
    )
    return base64.b64encode(file).decode()


def _data(job: Job, drawn: Drawn, file: _File) -> ImageData:
    seed = job.order.seeds[drawn.index]
    if job.request.response_format == "url":
        return ImageData(url=f"data:image/{job.request.output_format};base64,{file.text}", seed=seed)
    return ImageData(b64_json=file.text, seed=seed)


def _metrics(drawn: Drawn, file: _File) -> Metrics:
    timings = _timings(drawn)
    return Metrics(
        queue_ms=1000 * timings.queue_s,
        text_encode_ms=1000 * timings.preparation.prompt_s,
        prompt_cached=timings.preparation.prompt_cached,
        denoise_ms=1000 * sum(timings.steps_s),
        rows_per_step=sum(timings.rows) / len(timings.rows),
        decode_ms=1000 * timings.decode_s,
        file_ms=1000 * file.seconds,
    )


def _timings(drawn: Drawn) -> Timings:
    assert drawn.timings is not None, "a finished picture says where its time went"
    return drawn.timings


def _digest(order: Order) -> str | None:
    """Of the given pixels."""
    if order.image is None:
        return None
    digest = hashlib.sha256(order.image.tobytes())
    if order.hole is not None:
        digest.update(order.hole.tobytes())
    return digest.hexdigest()
