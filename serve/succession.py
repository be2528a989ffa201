"""The model that draws, and how the next version takes over: loaded and warmed up beside it, then swapped.

Orders that are under way end on the model that they began on; whoever comes after the swap is drawn for by its
successor. So both need memory for a while. A version that cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.studio import Studio
from ladd_ray.registry import Version

from .sources import ModelSource

logger = logging.getLogger("ray.serve")

_DRAIN_S: Final = 0.2
"""Between two looks at whether a model has nothing to do any more."""


class Running:
    """A model that draws."""

    def __init__(self, studio: Studio, facts: ModelFacts) -> None:
        self.studio, self.facts = studio, facts
        self._orders = 0

    @contextmanager
    def order(self) -> Iterator[Studio]:
        """The studio for one order, which stays open until that is done."""
        self._orders += 1
        try:
            yield self.studio
        finally:
            self._orders -= 1

    async def retire(self) -> None:
        """Close it once its last order is done."""
        while self._orders:
            await asyncio.sleep(_DRAIN_S)
        await asyncio.to_thread(self.studio.close)


Open = Callable[[str | None], Awaitable[Running]]
"""Loads and warms up what lies at a path."""


class Succession:
    """One model after the other."""

    current: Running
    """Who draws now, from the end of ``begin`` on."""

    def __init__(self, source: ModelSource, open_: Open) -> None:
        self._source, self._open = source, open_
        self._version: Version | None = None
        self._refused: Version | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Open what is to be served now; comes before anything else.

        Raises:
            ValueError: it is not there, or no model of ours.
            ConnectionError: the registry does not answer, or the version cannot be fetched.
        """
        self._version = await asyncio.to_thread(self._source.find_or_remember)
        self.current = await self._opened(self._version)

    async def follow(self, *, every_s: float) -> None:
        """Look for a new version again and again, as long as there may be one."""
        while self._source.moves and every_s > 0:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Serve the version that is to be served now. Never raises: what goes wrong is logged, and the model stays."""
        try:
            version = await asyncio.to_thread(self._source.find)
        except (ValueError, OSError) as error:
            logger.warning("%s goes on, since %s", _name(self._version), error)
            return
        if version in (self._version, self._refused):
            return
        logger.info("%s is loaded beside %s", _name(version), _name(self._version))
        try:
            following = await self._opened(version)
        except ConnectionError as error:
            # The version is not to blame: the next look tries again.
            logger.warning("%s goes on for now, since %s", _name(self._version), error)
            return
        except Exception:
            self._refused = version
            logger.exception("%s cannot be served, %s goes on", _name(version), _name(self._version))
            return
        self._swap(following, version)

    def _swap(self, following: Running, version: Version | None) -> None:
        previous, self.current = self.current, following
        self._version, self._refused = version, None
        logger.info("%s is served from now on: %s", _name(version), following.facts.fingerprint)
        retiring = asyncio.create_task(previous.retire())
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _opened(self, version: Version | None) -> Running:
        try:
            path = await asyncio.to_thread(self._source.path_of, version)
        except OSError as error:
            raise ConnectionError(f"{_name(version)} cannot be fetched: {error}") from error
        running = await self._open(path)
        if version is not None:
            running.facts = replace(running.facts, version=version.uri)
        return running


def _name(version: Version | None) -> str:
    return "the model" if version is None else version.uri
