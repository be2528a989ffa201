"""Of what a visitor asks for only the newest goes on: what drawing while one types needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False)
class _Turn:
    """One piece of work."""

    over: bool = False
    """Something newer has come."""
    task: asyncio.Future[Any] | None = None
    """Its next result, on the way."""

    def end(self) -> None:
        self.over = True
        if self.task is not None:
            self.task.cancel()


class Newest(Generic[Result]):
    """One piece of work for each visitor."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    async def only(self, visitor: str, work: AsyncGenerator[Result, None]) -> AsyncGenerator[Result, None]:
        """The results of some work, which ends as soon as something newer comes."""
        self.stop(visitor)
        turn = self._turns[visitor] = _Turn()
        async with aclosing(work):
            try:
                while not turn.over:
                    task = turn.task = asyncio.ensure_future(anext(work))
                    await asyncio.wait((task,))
                    if task.cancelled() or isinstance(task.exception(), StopAsyncIteration):
                        return
                    yield task.result()
            finally:
                await self._leave(visitor, turn)

    def stop(self, visitor: str) -> None:
        """Nobody wants any more of the work that is under way."""
        if visitor in self._turns:
            self._turns.pop(visitor).end()

    async def _leave(self, visitor: str, turn: _Turn) -> None:
        if self._turns.get(visitor) is turn:
            del self._turns[visitor]
        turn.end()
        # A generator that still runs cannot be closed.
        await asyncio.gather(*filter(None, [turn.task]), return_exceptions=True)
