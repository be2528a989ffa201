"""A model that does as it is told, and an endpoint over it in this process, without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import numpy as np

from ladd_ray.inference.commission import Drawn, Preparation, Timings
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order
from serve.artist import CHECK_S
from serve.errors import not_ready
from serve.gateway import Gateway
from serve.routes import make_app
from serve.settings import Limits

PATH = "/v1/images/generations"
FACTS = ModelFacts("f" * 16, False, 64, 16, 256, 4, 4, None)
TIMINGS = Timings(Preparation(0.1, False, 5, 0.0), 0.0, (0.1, 0.3), (2, 4), 0.1)


class Actor:
    """Draws grey pictures, and then does as it was told."""

    def __init__(
        self,
        *,
        pictures: int = 99,
        error: Exception | None = None,
        gate: asyncio.Event | None = None,
        pause_s: float = 0.0,
        unready: bool = False,
    ) -> None:
        self.pictures, self.error, self.gate, self.pause_s = pictures, error, gate, pause_s
        self.unready = unready
        self.facts_within_s = 0.0
        self.closed = False
        self.checks = 0
        self.within_s = 0.0

    async def facts(self, *, within_s: float = CHECK_S) -> ModelFacts:
        self.facts_within_s = within_s
        if self.unready:
            raise not_ready("wait")
        return FACTS

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        self.within_s = within_s
        try:
            for index in reversed(range(min(self.pictures, len(order.seeds)))):
                if self.gate:
                    await self.gate.wait()
                pixels = np.full((order.height, order.width, 3), 10 * index, np.uint8)
                yield Drawn(index, pixels, sigmas=(1.0, 0.0), timings=TIMINGS)
                await asyncio.sleep(self.pause_s)
            if self.error:
                raise self.error
        finally:
            self.closed = True

    async def check(self) -> None:
        self.checks += 1
        await asyncio.sleep(0.1)
        if self.error:
            raise self.error


def client_of(actor: Actor, **limits: Any) -> httpx2.AsyncClient:
    app = make_app(Gateway({"actor": actor}, limits=Limits(**limits)), max_body_bytes=4096)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway")


async def post(actor: Actor, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
    async with client_of(actor) as client:
        return await client.post(PATH, json={"prompt": "a", **fields}, headers=headers)
