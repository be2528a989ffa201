"""How much work is let in: by its predicted duration, so that whoever is turned away knows when to come back.

Work is counted in pixels times steps. The rate at which it gets done is measured, recent work weighing more. [ours]
"""

from __future__ import annotations

import math
import threading

_MEMORY_S = 20.0
"""Seconds of work after which a measurement counts for 1/e."""


class Overloaded(Exception):  # noqa: N818 - says what is the matter, not that it is our error
    """There is more to do than can be done in time."""

    def __init__(self, predicted_s: float, *, retry_after_s: int) -> None:
        """The work would have been done in so many seconds; after ``retry_after_s`` it would be let in."""
        super().__init__(
            f"{predicted_s:.1f} seconds of work are waiting, which is too much: try again in {retry_after_s} seconds"
        )
        self.predicted_s, self.retry_after_s = predicted_s, retry_after_s


class Admission:
    """Counts the work that was let in and is not done yet. Safe to use from several threads."""

    def __init__(self, *, max_backlog_s: float) -> None:
        """Nothing is let in that would be done later than that; a first piece of work always is."""
        self._max_backlog_s = max_backlog_s
        self._backlog = 0.0
        self._work = self._seconds = 0.0
        self._lock = threading.Lock()

    @property
    def backlog(self) -> float:
        """Work that was let in and is not done yet, in pixels times steps."""
        return self._backlog

    @property
    def rate(self) -> float | None:
        """Pixels times steps in a second; None as long as nothing was measured."""
        return self._work / self._seconds if self._seconds > 0 else None

    def admit(self, cost: float, *, within_s: float = math.inf) -> Reservation:
        """Let in some work, which should be done in so many seconds.

        Raises:
            Overloaded: it would not be; when to try again follows from what is to be done before.
        """
        with self._lock:
            limit_s, rate = min(self._max_backlog_s, within_s), self.rate
            if rate is not None and self._backlog > 0:
                predicted_s = (self._backlog + cost) / rate
                if predicted_s > limit_s:
                    gone_s = self._backlog / rate
                    wait_s = min(predicted_s - limit_s, gone_s)
                    raise Overloaded(predicted_s, retry_after_s=max(1, math.ceil(wait_s)))
            self._backlog += cost
        return Reservation(self, cost)

    def measured(self, work: float, *, seconds: float) -> None:
        """So much work took so long."""
        with self._lock:
            kept = math.exp(-seconds / _MEMORY_S)
            self._work, self._seconds = kept * self._work + work, kept * self._seconds + seconds

    def release(self, cost: float) -> None:
        """So much work is done, or will not be done."""
        with self._lock:
            self._backlog -= cost


class Reservation:
    """Work that was let in."""

    def __init__(self, admission: Admission, cost: float) -> None:
        self._admission, self._left = admission, cost

    def spend(self, cost: float) -> None:
        """So much of it is done."""
        part = min(cost, self._left)
        self._left -= part
        self._admission.release(part)

    def close(self) -> None:
        """The rest will not be done."""
        self.spend(self._left)
