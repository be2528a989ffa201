"""How much work is let in: by its predicted duration, so that whoever is turned away knows when to come back.

Work is counted in pixels times steps. How fast it gets done is measured from what does get done while there is work, in
all stages; time in which much is waiting weighs more, since that is the rate at which a crowd is served. Whoever is
turned away is told a time at which those told before have had their turn, and a part of the room is kept for those who
come back: for no more of them than were told to be back by now, since anybody can say so. [ours]
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

_MEMORY_S: Final = 5.0
"""Seconds of work after which a measurement counts for 1/e."""
_FOR_NEWCOMERS: Final = 0.8
"""Of the room; the rest is for those who were turned away before."""
_OF_DEADLINE: Final = 0.6
"""Predicted work fills no more of the time until a deadline: predictions err by a third, and what is let in beside it
comes between (benchmarks/serving.py --overload-seconds; with .8, every 25th was late)."""
_KEPT_S: Final = 10.0
"""Seconds that room is kept for those who are late: their requests have to come here first."""
LONGEST_WAIT_S: Final = 60
"""Clients of OpenAI wait no longer, and come back much earlier when they are told to."""


class Overloaded(Exception):  # noqa: N818 - says what is the matter, not that it is our error
    """There is more to do than can be done in time."""

    def __init__(self, predicted_s: float, *, retry_after_s: int) -> None:
        """The work would have been done in so many seconds; after ``retry_after_s`` it would be let in."""
        super().__init__(
            f"{predicted_s:.1f} seconds of work are waiting, which is too much: try again in {retry_after_s} seconds"
        )
        self.predicted_s, self.retry_after_s = predicted_s, retry_after_s


class Beginning(NamedTuple):
    """When some work was let in, and what had been measured by then."""

    at: float
    busy_s: float
    """Seconds with work, of which older ones count less."""
    rate: float | None


class Admission:
    """Counts the work that was let in and is not done yet. Safe to use from several threads."""

    def __init__(self, *, max_backlog_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is let in that would be done later than that; a first piece of work always is."""
        self._max_backlog_s, self._clock = max_backlog_s, clock
        self._backlog = 0.0
        self._work = self._seconds = self._busy_s = 0.0
        self._settled = clock()
        self._promises: deque[tuple[float, float]] = deque()
        self._expected: list[float] = []
        self._lock = threading.Lock()

    @property
    def backlog(self) -> float:
        """Work that was let in and is not done yet, in pixels times steps."""
        return self._backlog

    @property
    def rate(self) -> float | None:
        """Pixels times steps in a second; None as long as nothing was done."""
        return self._work / self._seconds if self._work > 0 else None

    def admit(self, cost: float, *, within_s: float = math.inf, came_back: bool = False) -> Reservation:
        """Let in some work.

        Args:
            cost: in pixels times steps.
            within_s: seconds in which it should be done.
            came_back: whether it says that it was turned away before. That counts once for each that was.

        Raises:
            Overloaded: it would not be done in time; when to try again follows from what is to be done before.
        """
        with self._lock:
            self._settle(done=0.0)
            limit_s = min(self._max_backlog_s, _OF_DEADLINE * within_s)
            expected = came_back and self._is_expected()
            rate = self.rate
            if rate is not None and self._backlog > 0:
                predicted_s = (self._backlog + cost) / rate
                if predicted_s > (limit_s if expected else _FOR_NEWCOMERS * limit_s):
                    raise Overloaded(predicted_s, retry_after_s=self._promise(cost, limit_s=limit_s, rate=rate))
            self._backlog += cost
            return Reservation(self, cost, self._beginning())

    def take(self, cost: float) -> Reservation:
        """Let in some work, however much there is."""
        with self._lock:
            self._settle(done=0.0)
            self._backlog += cost
            return Reservation(self, cost, self._beginning())

    def release(self, cost: float, *, done: bool) -> None:
        """So much work is done, or will not be done."""
        with self._lock:
            self._settle(done=cost if done else 0.0)
            self._backlog -= cost

    def forgive(self, cost: float, beginning: Beginning) -> None:
        """So much work is called off: count the time that it was here as if it had been done at the rate of then."""
        with self._lock:
            self._settle(done=0.0)
            if beginning.rate is not None:
                before_s = beginning.busy_s * math.exp((beginning.at - self._settled) / _MEMORY_S)
                self._work += beginning.rate * cost * (self._busy_s - before_s)
            self._backlog -= cost

    def _beginning(self) -> Beginning:
        return Beginning(self._settled, self._busy_s, self.rate)

    def _settle(self, *, done: float) -> None:
        """Measure the time since the last change."""
        now = self._clock()
        if self._backlog > 0:
            seconds = now - self._settled
            kept = math.exp(-seconds / _MEMORY_S)
            self._work = kept * self._work + self._backlog * done
            self._seconds = kept * self._seconds + self._backlog * seconds
            self._busy_s = kept * self._busy_s + seconds
        self._settled = now

    def _promise(self, cost: float, *, limit_s: float, rate: float) -> int:
        """Seconds until there is room for some work, behind everybody else who was told to come back."""
        now = self._clock()
        while self._promises and self._promises[0][0] <= now:
            self._promises.popleft()
        before_s = (self._backlog + sum(promised for _, promised in self._promises)) / rate
        wait_s = max(1, math.ceil(min(before_s, max(1.0, before_s + cost / rate - limit_s))))
        if wait_s < LONGEST_WAIT_S:
            self._promises.append((now + wait_s, cost))
        self._expect(now + min(wait_s, LONGEST_WAIT_S))
        return min(wait_s, LONGEST_WAIT_S)

    def _expect(self, back_at: float) -> None:
        """Somebody will come back then."""
        while self._expected and self._expected[0] < self._clock() - _KEPT_S:
            heapq.heappop(self._expected)
        heapq.heappush(self._expected, back_at)

    def _is_expected(self) -> bool:
        """Whether somebody was told to be back by now who has not been yet; it is whoever asks."""
        now = self._clock()
        while self._expected and self._expected[0] <= now:
            if heapq.heappop(self._expected) >= now - _KEPT_S:
                return True
        return False


class Reservation:
    """Work that was let in. Safe to use from several threads."""

    def __init__(self, admission: Admission, cost: float, beginning: Beginning) -> None:
        self._admission, self._left, self._beginning = admission, cost, beginning
        self._lock = threading.Lock()

    def spend(self, cost: float) -> None:
        """So much of it is done."""
        self._release(cost, done=True)

    def close(self) -> None:
        """The rest will not be done."""
        self._release(math.inf, done=False)

    def abandon(self) -> None:
        """The rest was called off, which says nothing about how fast work gets done."""
        self._admission.forgive(self._take(math.inf), self._beginning)

    def _release(self, cost: float, *, done: bool) -> None:
        self._admission.release(self._take(cost), done=done)

    def _take(self, cost: float) -> float:
        with self._lock:
            part = min(cost, self._left)
            self._left -= part
        return part
