"""What happens to our endpoint at several times its capacity.

First a crowd measures the capacity. Then requests come at a multiple of it, whatever becomes of those before, each with
a deadline. Whoever is answered 429 waits as long as Retry-After says and tries again, as OpenAI's clients do. Counted
are: how many were drawn, refused, late or failed; whether those who waited were let in when they came back; how late
the drawn ones were; and how the memory of all processes of the endpoint went.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from statistics import mean, quantiles
from typing import Any, Final

import aiohttp

from benchmarks.serving_clients import crowd
from benchmarks.serving_requests import Ask
from ladd_ray.admission import LONGEST_WAIT_S
from serve.proxy import DEADLINE_HEADER, RETRY_HEADER

DEADLINE_S: Final = 5.0
MOST_TRIES: Final = 3
"""Of OpenAI's clients, by default."""
OUTCOMES: Final[Mapping[int, str]] = {
    HTTPStatus.OK: "drawn",
    HTTPStatus.TOO_MANY_REQUESTS: "refused",
    HTTPStatus.GATEWAY_TIMEOUT: "late",
}
_CROWD: Final = 32
_MEMORY_EVERY_S: Final = 1.0


@dataclass
class Flood:
    """What the senders saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Of tries: drawn, refused (429), late (504), or what went wrong."""
    drawn_after_s: list[float] = field(default_factory=list)
    """Of the drawn ones, from the try that was let in."""
    waits: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """Of those who came back as late as they were told: whether that was a promise, and whether they were let in.
    Whoever is told the longest wait that OpenAI's clients keep would have to wait longer, and has no promise."""
    retry_after_s: list[int] = field(default_factory=list)
    memory: list[dict[str, int]] = field(default_factory=list)
    """Bytes of each process of the endpoint, in the course of time."""


def overload(
    address: str, source: Iterator[Ask], *, seconds: float, factor: float, memory: Callable[[], dict[str, int]] = dict
) -> dict[str, Any]:
    """Flood an endpoint.

    Args:
        address: of the endpoint.
        source: requests without end.
        seconds: for which requests come.
        factor: how many times the capacity.
        memory: bytes of each process of the endpoint now.
    """
    capacity = _capacity(address, source)
    flood = asyncio.run(_flood(address, source, rate=factor * capacity, seconds=seconds, memory=memory))
    return {"capacity, images/s": capacity, "seconds": seconds, "times the capacity": factor, **summary(flood)}


def summary(flood: Flood) -> dict[str, Any]:
    """The numbers that matter."""
    drawn = flood.drawn_after_s
    return {
        "tries": flood.outcomes.total(),
        **{outcome: flood.outcomes[outcome] for outcome in OUTCOMES.values()},
        "failed": {name: count for name, count in flood.outcomes.items() if name not in OUTCOMES.values()},
        "drawn in seconds, p50": quantiles(drawn, n=2)[0] if len(drawn) > 1 else None,
        "drawn in seconds, most": max(drawn, default=None),
        "deadline, seconds": DEADLINE_S,
        "Retry-After, seconds, mean": mean(flood.retry_after_s) if flood.retry_after_s else None,
        f"came back, told less than {LONGEST_WAIT_S} s": flood.waits.total() - _unpromised(flood),
        "of these let in": _share(flood.waits[True, True], of=flood.waits.total() - _unpromised(flood)),
        f"came back, told {LONGEST_WAIT_S} s": _unpromised(flood),
        "of those let in": _share(flood.waits[False, True], of=_unpromised(flood)),
        **_growth(flood.memory),
    }


def _unpromised(flood: Flood) -> int:
    return flood.waits[False, True] + flood.waits[False, False]


def _share(part: int, *, of: int) -> float | None:
    return part / of if of else None


def _growth(memory: list[dict[str, int]]) -> dict[str, float]:
    """MiB that each process has gained between the first third of the time and the last one, by their means."""
    third = len(memory) // 3
    if third == 0:
        return {}
    first, last = memory[:third], memory[-third:]
    return {
        f"MiB gained by {name}": (mean(now[name] for now in last) - mean(now[name] for now in first)) / 2**20
        for name in memory[0]
    }


def _capacity(address: str, source: Iterator[Ask]) -> float:
    """Images in a second of a crowd, the second time."""
    return [crowd(address, list(itertools.islice(source, 3 * _CROWD)), clients=_CROWD).images_per_s for _ in "ab"][-1]


async def _flood(
    address: str, source: Iterator[Ask], *, rate: float, seconds: float, memory: Callable[[], dict[str, int]]
) -> Flood:
    flood, began = Flood(), time.monotonic()
    timeout = aiohttp.ClientTimeout(total=10 * DEADLINE_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        watching = asyncio.create_task(_watch(flood, memory))
        async with asyncio.TaskGroup() as senders:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(began + number / rate - time.monotonic())
                senders.create_task(_send(session, address, next(source), flood))
        watching.cancel()
    return flood


async def _watch(flood: Flood, memory: Callable[[], dict[str, int]]) -> None:
    while True:
        flood.memory.append(memory())
        await asyncio.sleep(_MEMORY_EVERY_S)


async def _send(session: aiohttp.ClientSession, address: str, ask: Ask, flood: Flood) -> None:
    """Ask, and ask again as often as OpenAI's clients would."""
    body, promised = ask.body(), False
    for tries in range(MOST_TRIES):
        headers = {DEADLINE_HEADER: str(DEADLINE_S), RETRY_HEADER: str(tries)}
        began = time.monotonic()
        try:
            async with session.post(f"{address}{ask.path}", json=body, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            flood.outcomes[type(error).__name__] += 1
            return
        let_in = answer.status != HTTPStatus.TOO_MANY_REQUESTS
        if tries:
            flood.waits[promised, let_in] += 1
        flood.outcomes[OUTCOMES.get(answer.status, str(answer.status))] += 1
        if let_in:
            flood.drawn_after_s += [time.monotonic() - began] * (answer.status == HTTPStatus.OK)
            return
        wait_s = int(answer.headers["Retry-After"])
        flood.retry_after_s.append(wait_s)
        promised = wait_s < LONGEST_WAIT_S
        await asyncio.sleep(wait_s)
