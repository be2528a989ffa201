"""The two deployments: a model's replica, and the gateway in front of all models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from fastapi import FastAPI
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order

from .artist import CHECK_S, small_order
from .errors import ApiError, Refusal, from_drawing, not_ready, too_late
from .gateway import Gateway
from .loading import load, open_studio, warm_up
from .metrics import GatewayMetrics, ReplicaMetrics
from .routes import make_app
from .settings import BatchSettings, Limits, ModelSettings

_MOST_FAILURES: Final = 3
"""Steps in a row that may fail before a replica is replaced."""
_FACTS_S: Final = 10.0
"""After which they are asked for again: a model may be replaced behind a gateway that stays."""
_GRACE_S: Final = 2.0
"""By which the gateway outwaits the replica, whose answers say more."""


class ModelReplica:
    """One model with everything it needs; draws whatever comes, together."""

    async def __init__(self, model: ModelSettings, batch: BatchSettings) -> None:  # type: ignore[misc]
        """Load and warm up. Ray Serve awaits this, and takes no requests before."""
        pipeline, self._facts = load(model)
        self._studio = open_studio(pipeline, batch)
        self._metrics = ReplicaMetrics()
        await warm_up(self._studio, self._facts, rows=batch.max_rows)

    async def facts(self) -> ModelFacts:
        """What the model can do."""
        return self._facts

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn | Refusal, None]:
        """As ``Studio.draw``; a refusal is the last thing that comes, since errors lose their types on the way."""
        self._metrics.watched(self._studio)
        try:
            drawings = self._studio.draw(order, num_previews=num_previews, within_s=within_s)
            async with aclosing(drawings):
                async for drawn in drawings:
                    if drawn.timings is not None:
                        self._metrics.drawn(order, drawn.timings)
                    yield drawn
        except Exception as error:  # noqa: BLE001 - the gateway says what it was
            refusal = from_drawing(error).refusal
            self._metrics.refused(refusal.code)
            yield refusal

    async def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica that raises."""
        if not self._studio.loop.alive or self._studio.loop.failures >= _MOST_FAILURES:
            raise RuntimeError(f"{self._studio.loop.failures} steps in a row have failed")


class RemoteArtist:
    """A model's replicas, seen from the gateway."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._facts: ModelFacts | None = None
        self._asked = 0.0

    async def facts(self) -> ModelFacts:
        if self._facts is None or time.monotonic() - self._asked > _FACTS_S:
            try:
                self._facts = await asyncio.wait_for(_result(self._handle), CHECK_S)
            except (TimeoutError, RayError, RayServeException) as error:
                raise not_ready("the model is being loaded: try again") from error
            self._asked = time.monotonic()
        return self._facts

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        until = time.monotonic() + within_s + _GRACE_S
        drawings: Any = self._handle.options(stream=True).draw.remote(
            order, num_previews=num_previews, within_s=within_s
        )
        try:
            while True:
                item = await asyncio.wait_for(anext(drawings), until - time.monotonic())
                if isinstance(item, Refusal):
                    raise ApiError(item)
                yield item
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise too_late("the model did not answer before the deadline") from error
        except (RayError, RayServeException) as error:
            raise not_ready("the model's process ended: another one takes its place, try again") from error
        finally:
            drawings.cancel()

    async def check(self) -> None:
        async with aclosing(self.draw(small_order(await self.facts()), num_previews=0, within_s=CHECK_S)) as drawings:
            async for _ in drawings:
                pass


async def _result(handle: DeploymentHandle[Any]) -> ModelFacts:
    facts: ModelFacts = await handle.facts.remote()
    return facts


@ray_serve.ingress()
class GatewayReplica:
    """The HTTP side: checks requests, unpacks pictures, packs files."""

    def __init__(
        self, models: Mapping[str, DeploymentHandle[Any]], *, limits: Limits, key_digests: Sequence[str]
    ) -> None:
        self._models, self._limits, self._key_digests = models, limits, key_digests

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve."""
        artists = {name: RemoteArtist(handle) for name, handle in self._models.items()}
        gateway = Gateway(artists, limits=self._limits, packed=GatewayMetrics().packed)
        return make_app(gateway, max_body_bytes=self._limits.max_body_bytes, key_digests=self._key_digests)
