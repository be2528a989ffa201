"""A thread that does together whatever has come in the meantime.

While it works on one batch the next one gathers: alone an item waits for nothing, and in a crowd batches grow by
themselves. What is cancelled before its turn is left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item, and what becomes of it."""

    item: Item
    kind: Hashable
    future: Future[Result] = field(default_factory=Future)


class Gathering(Generic[Item, Result]):
    """Works on batches of items of one kind until it is closed."""

    def __init__(
        self, work: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, name: str, most: int = 16
    ) -> None:
        """Start the thread.

        Args:
            work: a result for each item; an exception where only that item failed.
            name: of the thread.
            most: items of a batch.
        """
        self._work, self._most = work, most
        self._waiting: list[_Waiting[Item, Result]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item, *, kind: Hashable = None) -> Future[Result]:
        """What will come of an item; only items of one kind are worked on together."""
        waiting: _Waiting[Item, Result] = _Waiting(item, kind)
        with self._changed:
            if self._closed:
                raise RuntimeError("nothing will be done any more: it is closed")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """End the thread after the batch under way; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for waiting in self._waiting:
            waiting.future.cancel()

    def _run(self) -> None:
        while batch := self._gather():
            self._do([waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()])

    def _gather(self) -> list[_Waiting[Item, Result]]:
        """The oldest item with the others of its kind; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return []
            kind = self._waiting[0].kind
            batch = [waiting for waiting in self._waiting if waiting.kind == kind][: self._most]
            self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
            return batch

    def _do(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        if not batch:
            return
        try:
            results = self._work([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it, and the thread goes on
            results = [error] * len(batch)
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)
