"""The two deployments: a model's replica, and the gateway in front of all models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from fastapi import FastAPI
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order

from .errors import Refusal, from_drawing
from .gateway import Gateway
from .loading import load, open_studio, warm_up
from .metrics import GatewayMetrics, ReplicaMetrics, prometheus_address
from .page import add_page
from .remote import RemoteArtist, Replaced
from .routes import make_app
from .settings import BatchSettings, Limits, ModelSettings, RegistrySettings
from .sources import ModelSource
from .succession import Running, Succession

logger = logging.getLogger("ray.serve")

_MOST_FAILURES: Final = 3
"""Steps in a row that may fail before a replica is replaced."""


class ModelReplica:
    """One model with everything it needs; draws whatever comes, together."""

    async def __init__(  # type: ignore[misc]
        self, model: ModelSettings, batch: BatchSettings, registry: RegistrySettings
    ) -> None:
        """Load and warm up. Ray Serve awaits this, and takes no requests before."""
        self._model, self._batch = model, batch
        self._metrics = ReplicaMetrics()
        self._models = Succession(ModelSource(model.path, registry), self._open)
        await self._models.begin()
        self._following = asyncio.create_task(self._models.follow(every_s=registry.poll_s))

    async def facts(self) -> ModelFacts:
        """What the model can do."""
        return self._models.current.facts

    async def draw(
        self, order: Order, *, num_previews: int, within_s: float
    ) -> AsyncGenerator[Drawn | Refusal | Replaced, None]:
        """As ``Studio.draw``; a refusal is the last thing that comes, since errors lose their types on the way."""
        running = self._models.current
        if order.model not in (None, running.facts.fingerprint):
            yield Replaced(running.facts)
            return
        with running.order() as studio:
            self._metrics.watched(studio)
            try:
                async with (
                    aclosing(studio.draw(order, num_previews=num_previews, within_s=within_s)) as drawings,
                    aclosing(self._counted(order, drawings)) as counted,
                ):
                    async for drawn in counted:
                        yield drawn
            except Exception as error:  # noqa: BLE001 - the gateway says what it was
                refusal = from_drawing(error).refusal
                self._metrics.refused(refusal.code)
                yield refusal
            finally:
                self._metrics.watched(studio)

    async def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica that raises."""
        loop = self._models.current.studio.loop
        if not loop.alive or loop.failures >= _MOST_FAILURES:
            raise RuntimeError(f"{loop.failures} steps in a row have failed")

    async def _counted(self, order: Order, drawings: AsyncGenerator[Drawn, None]) -> AsyncGenerator[Drawn, None]:
        """The same, with every finished picture and its order told to the metrics."""
        prepared = False
        async for drawn in drawings:
            if drawn.timings is not None:
                self._metrics.drawn(order, drawn.timings)
                if not prepared:
                    self._metrics.prepared(order, drawn.timings.preparation)
                prepared = True
            yield drawn

    async def _open(self, path: str | None) -> Running:
        model = self._model.model_copy(update={"path": path})
        pipeline, facts = await asyncio.to_thread(load, model)
        studio = open_studio(pipeline, self._batch)
        try:
            await warm_up(studio, facts, rows=self._batch.max_rows)
        except BaseException:
            studio.close()
            raise
        return Running(studio, facts)


@ray_serve.ingress()
class GatewayReplica:
    """The HTTP side: checks requests, unpacks pictures, packs files."""

    def __init__(
        self, models: Mapping[str, DeploymentHandle[Any]], *, limits: Limits, key_digests: Sequence[str], page: bool
    ) -> None:
        self._models, self._limits, self._key_digests, self._page = models, limits, key_digests, page
        logger.info("metrics are at %s", prometheus_address())

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve."""
        artists = {name: RemoteArtist(handle) for name, handle in self._models.items()}
        gateway = Gateway(artists, limits=self._limits, packed=GatewayMetrics().packed)
        app = make_app(gateway, max_body_bytes=self._limits.max_body_bytes, key_digests=self._key_digests)
        if self._page:
            add_page(app, max_pixels=self._limits.max_pixels, key_digests=self._key_digests)
        return app
