"""The HTTP routes: OpenAI's Images API over anything that can draw. Plain FastAPI, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from ladd_ray.inference.commission import Drawn

from .answers import Job, Packed, respond, stream, unheard
from .artist import Artist
from .edits import read_edit
from .errors import bad_request, no_such_model, too_busy
from .orders import Given, make_order
from .schemas import GenerateRequest, ImageRequest, ModelCard, ModelList
from .settings import Limits

DEADLINE_HEADER: Final = "x-deadline-seconds"
DEFAULT: Final = "default"
"""Another name of the first model."""

Result = TypeVar("Result")


class Gateway:
    """What the routes do; ``routes.py`` says at which address."""

    def __init__(self, artists: Mapping[str, Artist], *, limits: Limits, packed: Packed = unheard) -> None:
        """Serve models by their names; the first is the default. ``packed`` hears of every file."""
        self._artists, self._limits, self._packed = dict(artists), limits, packed
        self._started = int(time.time())
        self._requests = 0

    async def generate(self, request: GenerateRequest, http: Request) -> Response:
        """``POST /v1/images/generations``."""
        with self._place():
            return await self._answer(request, http)

    async def edit(self, http: Request) -> Response:
        """``POST /v1/images/edits``."""
        with self._place():
            body = await read_edit(http)
            given = await asyncio.to_thread(body.given, max_pixels=self._limits.max_pixels)
            return await self._answer(body.options, http, given=given)

    async def models(self) -> ModelList:
        """``GET /v1/models``."""
        return ModelList(data=[await self.model(name) for name in self._artists])

    async def model(self, name: str) -> ModelCard:
        """``GET /v1/models/{name}``."""
        name = self._known(name)
        facts = await self._artists[name].facts()
        knobs = facts.knobs
        return ModelCard(
            id=name,
            created=self._started,
            fingerprint=facts.fingerprint,
            tasks=["generate", "edit", "inpaint"] if facts.edits else ["generate"],
            native_size=f"{facts.native_size}x{facts.native_size}",
            default_steps=facts.default_steps,
            most_steps=facts.most_steps,
            text_guidance=None if knobs is None else (knobs.text.low, knobs.text.high),
            image_guidance=None if knobs is None or not facts.edits else (knobs.image.low, knobs.image.high),
        )

    async def check(self) -> None:
        """``GET /ready``: every model draws; raises ``ApiError`` where one does not."""
        await asyncio.gather(*(artist.check() for artist in self._artists.values()))

    async def _answer(self, request: ImageRequest, http: Request, *, given: Given | None = None) -> Response:
        within_s = self._deadline(http)
        artist = self._artists[self._known(request.model or DEFAULT)]
        facts = await artist.facts()
        order = make_order(request, facts, given=given, max_pixels=self._limits.max_pixels)
        job = Job(request, order, facts, self._packed)
        drawings = artist.draw(order, num_previews=request.partial_images, within_s=within_s)
        if request.stream:
            # Only when there is something to show is it known that the answer is no refusal.
            first = await until_gone(http, anext(drawings))
            return StreamingResponse(stream(job, _chained(first, drawings)), media_type="text/event-stream")
        async with contextlib.aclosing(drawings):
            answer = await until_gone(http, respond(job, drawings))
        return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")

    def _known(self, name: str) -> str:
        """The name of a model that is served."""
        known = list(self._artists)
        if name != DEFAULT and name not in known:
            raise no_such_model(name, known)
        return known[0] if name == DEFAULT else name

    def _deadline(self, http: Request) -> float:
        """Seconds that the request may take."""
        most = self._limits.max_deadline_s
        asked = http.headers.get(DEADLINE_HEADER)
        if asked is None:
            return most
        with contextlib.suppress(ValueError):
            if 0 < (seconds := float(asked)) <= most:
                return seconds
        raise bad_request(f"{DEADLINE_HEADER} must be a number of seconds up to {most:g}", param=DEADLINE_HEADER)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the requests that may be under way at once."""
        if self._requests >= self._limits.max_requests:
            raise too_busy(f"{self._requests} requests are under way: try again", retry_after_s=1)
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1


async def until_gone(http: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which is cancelled as soon as the client has left."""
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(_departure(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise asyncio.CancelledError("the client has left")
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _departure(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _chained(first: Drawn, others: AsyncGenerator[Drawn, None]) -> AsyncGenerator[Drawn, None]:
    async with contextlib.aclosing(others):
        yield first
        async for drawn in others:
            yield drawn
