"""A model's replicas, seen from the gateway: they come and go, and orders outlive them.

What is drawn follows from the order alone. So an order whose replica died is simply given to another one, and of what
comes again only that is passed on which nobody has seen yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from ray.exceptions import ObjectLostError, RayActorError, RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order

from .artist import CHECK_S, ModelReplaced, sign_of_life, small_order
from .errors import ApiError, Refusal, not_ready, too_late

_FACTS_S: Final = 10.0
"""After which they are asked for again: what is known is what was drawn by last."""
_REFRESH_S: Final = 2.0
"""Within which they should come again; until then the known ones do."""
_GRACE_S: Final = 2.0
"""By which the gateway outwaits the replica, whose answers say more."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
"""Before an order is given to another replica."""


@dataclass(frozen=True)
class Replaced:
    """A replica's answer to an order that was checked against another model than the one it has."""

    facts: ModelFacts
    """Of the one it has."""


class _ReplicaLostError(Exception):
    """The process that drew is gone."""


class RemoteArtist:
    """Draws with whichever replica Ray Serve chooses."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._facts: ModelFacts | None = None
        self._asked = 0.0

    async def facts(self, *, within_s: float = CHECK_S) -> ModelFacts:
        if self._facts is None:
            return self._known(await self._ask(min(CHECK_S, within_s)))
        if time.monotonic() - self._asked > _FACTS_S:
            self._asked = time.monotonic()
            # A replica that draws with others says so: nobody needs to wait for one that is just being replaced.
            try:
                return self._known(await self._ask(min(_REFRESH_S, within_s)))
            except ApiError:
                pass
        return self._facts

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        until, pause_s = time.monotonic() + within_s, _FIRST_PAUSE_S
        seen: set[tuple[int, int | None]] = set()
        while True:
            left_s = max(0.0, until - time.monotonic())
            try:
                async with aclosing(self._draw(order, num_previews=num_previews, within_s=left_s)) as drawings:
                    async for drawn in drawings:
                        if (place := (drawn.index, drawn.partial)) not in seen:
                            seen.add(place)
                            yield drawn
                return
            except _ReplicaLostError as error:
                if left_s < pause_s:
                    raise not_ready("the model's process ended: another one takes its place, try again") from error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def check(self) -> None:
        order = small_order(await self.facts())
        try:
            await sign_of_life(self._draw(order, num_previews=0, within_s=CHECK_S))
        except _ReplicaLostError as error:
            raise not_ready("the model's process has just ended") from error

    async def _draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        """By one replica."""
        until = time.monotonic() + within_s + _GRACE_S
        drawings: Any = self._handle.options(stream=True).draw.remote(
            order, num_previews=num_previews, within_s=within_s
        )
        try:
            while True:
                yield self._passed(await asyncio.wait_for(anext(drawings), until - time.monotonic()))
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise too_late("the model did not answer before the deadline") from error
        except (RayActorError, ObjectLostError) as error:
            raise _ReplicaLostError from error
        except (RayError, RayServeException) as error:
            raise not_ready("the model cannot be reached: try again") from error
        finally:
            drawings.cancel()

    def _passed(self, item: Drawn | Refusal | Replaced) -> Drawn:
        """What is drawn; all else is an error."""
        if isinstance(item, Refusal):
            raise ApiError(item)
        if isinstance(item, Replaced):
            self._known(item.facts)
            raise ModelReplaced
        return item

    async def _ask(self, within_s: float) -> ModelFacts:
        try:
            return await asyncio.wait_for(_facts_of(self._handle), within_s)
        except (TimeoutError, RayError, RayServeException) as error:
            raise not_ready("the model is being loaded: try again") from error

    def _known(self, facts: ModelFacts) -> ModelFacts:
        self._facts, self._asked = facts, time.monotonic()
        return facts


async def _facts_of(handle: DeploymentHandle[Any]) -> ModelFacts:
    facts: ModelFacts = await handle.facts.remote()
    return facts
