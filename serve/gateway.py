"""The HTTP routes: OpenAI's Images API over anything that can draw. Plain FastAPI, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from ladd_ray.inference.commission import Drawn

from .answers import Job, Packed, respond, stream, unheard
from .artist import CHECK_S, Artist, ModelReplaced
from .edits import read_edit
from .errors import ApiError, bad_request, client_left, no_such_model, not_ready, too_late
from .guards import ARRIVED
from .orders import Given, make_order
from .proxy import DEADLINE_HEADER, was_turned_away
from .schemas import GenerateRequest, ImageRequest, ModelCard, ModelList
from .settings import Limits

DEFAULT: Final = "default"
"""Another name of the first model."""

_LIST_S: Final = 5.0
"""In which a model has to answer to be listed."""
_REPLACED_PAUSE_S: Final = 0.1
"""Before a request is checked anew: while an alias moves, replicas with both versions take turns."""

Result = TypeVar("Result")


class Gateway:
    """What the routes do; ``routes.py`` says at which address."""

    def __init__(self, artists: Mapping[str, Artist], *, limits: Limits, packed: Packed = unheard) -> None:
        """Serve models by their names; the first is the default. ``packed`` hears of every file."""
        self.limits = limits
        self._artists, self._packed = dict(artists), packed
        self._started = int(time.time())
        self._checking: asyncio.Future[list[None]] | None = None

    async def generate(self, request: GenerateRequest, http: Request) -> Response:
        """``POST /v1/images/generations``."""
        return await self._answer(request, http)

    async def edit(self, http: Request) -> Response:
        """``POST /v1/images/edits``."""
        body = await read_edit(http)
        given = await asyncio.to_thread(body.given, max_pixels=self.limits.max_pixels)
        return await self._answer(body.options, http, given=given)

    async def models(self) -> ModelList:
        """``GET /v1/models``: those that are ready; raises ``ApiError`` where none is."""
        found = await asyncio.gather(*(self._listed(name) for name in self._artists))
        cards = [card for card in found if card is not None]
        if not cards:
            raise not_ready("no model is loaded yet: try again")
        return ModelList(data=cards)

    async def model(self, name: str, *, within_s: float = CHECK_S) -> ModelCard:
        """``GET /v1/models/{name}``."""
        name = self._known(name)
        facts = await self._artists[name].facts(within_s=within_s)
        knobs = facts.knobs
        return ModelCard(
            id=name,
            created=self._started,
            fingerprint=facts.fingerprint,
            version=facts.version,
            tasks=["generate", "edit", "inpaint"] if facts.edits else ["generate"],
            native_size=f"{facts.native_size}x{facts.native_size}",
            size_multiple=facts.size_multiple,
            largest_side=facts.largest_side,
            default_steps=facts.default_steps,
            most_steps=facts.most_steps,
            text_guidance=None if knobs is None else (knobs.text.low, knobs.text.high),
            image_guidance=None if knobs is None or not facts.edits else (knobs.image.low, knobs.image.high),
            default_text_guidance=None if knobs is None else knobs.text.default,
            default_image_guidance=None if knobs is None or not facts.edits else knobs.image.default,
        )

    async def check(self) -> None:
        """``GET /ready``: every model draws; raises ``ApiError`` where one does not.

        Anybody may ask, and as often as they like: those who ask at once get one answer.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.gather(*(artist.check() for artist in self._artists.values()))
        await asyncio.shield(self._checking)

    async def _answer(self, request: ImageRequest, http: Request, *, given: Given | None = None) -> Response:
        until = http.scope[ARRIVED] + self._deadline(http)
        # Only when there is something to show is it known that the answer is no refusal.
        beginning = self._begin(request, given=given, until=until, came_back=was_turned_away(http.headers))
        job, drawings = await until_gone(http, beginning)
        if request.stream:
            return StreamingResponse(stream(job, drawings), media_type="text/event-stream")
        async with contextlib.aclosing(drawings):
            answer = await until_gone(http, respond(job, drawings))
        return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")

    async def _begin(
        self, request: ImageRequest, *, given: Given | None, until: float, came_back: bool
    ) -> tuple[Job, AsyncGenerator[Drawn, None]]:
        """What is drawn, by the model whose facts the request was checked against: one that follows checks it anew."""
        artist = self._artists[self._known(DEFAULT if request.model is None else request.model)]
        while (left_s := until - time.monotonic()) > 0:
            facts = await artist.facts(within_s=left_s)
            order = make_order(request, facts, given=given, max_pixels=self.limits.max_pixels)
            order = replace(order, came_back=came_back)
            within_s = max(0.0, until - time.monotonic())
            drawings = artist.draw(order, num_previews=request.partial_images, within_s=within_s)
            try:
                first = await anext(drawings)
            except ModelReplaced:
                if until - time.monotonic() < _REPLACED_PAUSE_S:
                    raise
                await asyncio.sleep(_REPLACED_PAUSE_S)
                continue
            return Job(request, order, facts, self._packed), _chained(first, drawings)
        raise too_late("the time of this request was over before anything was drawn")

    async def _listed(self, name: str) -> ModelCard | None:
        """None of a model that is not ready."""
        with contextlib.suppress(ApiError):
            return await self.model(name, within_s=_LIST_S)
        return None

    def _known(self, name: str) -> str:
        """The name of a model that is served."""
        known = list(self._artists)
        if name != DEFAULT and name not in known:
            raise no_such_model(name, known)
        return known[0] if name == DEFAULT else name

    def _deadline(self, http: Request) -> float:
        """Seconds that the request may take."""
        most = self.limits.max_deadline_s
        asked = http.headers.get(DEADLINE_HEADER)
        if asked is None:
            return most
        with contextlib.suppress(ValueError):
            if 0 < (seconds := float(asked)) <= most:
                return seconds
        raise bad_request(f"{DEADLINE_HEADER} must be a number of seconds up to {most:g}", param=DEADLINE_HEADER)


async def until_gone(http: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which is cancelled as soon as the client has left; then raises ``ApiError``."""
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(_departure(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise client_left()
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
