"""Clients of an endpoint: so many at once, each asking for the next picture as soon as it has one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from statistics import quantiles

import aiohttp

from benchmarks.serving_requests import Ask


@dataclass
class Crowd:
    """What a crowd of clients saw."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    latencies_s: list[float] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        """Pictures in a second."""
        return len(self.latencies_s) / self.seconds

    def percentile(self, percent: int) -> float:
        """Latency in seconds that so many of a hundred requests stay below."""
        return quantiles(self.latencies_s, n=100, method="inclusive")[percent - 1]


def crowd(address: str, asks: Sequence[Ask], *, clients: int) -> Crowd:
    """Send all requests, by so many clients at once.

    Raises:
        aiohttp.ClientResponseError: an answer that is no picture.
    """
    # Packed beforehand: what the client does not do while it is timed, the server can.
    requests = [(f"{address}{ask.path}", ask.body()) for ask in asks]
    return asyncio.run(_send(requests, clients))


async def _send(requests: Sequence[tuple[str, object]], clients: int) -> Crowd:
    seen, queue = Crowd(), iter(requests)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients), timeout=timeout) as session:
        began = time.monotonic()
        await asyncio.gather(*(_client(session, queue, seen) for _ in range(clients)))
        seen.seconds = time.monotonic() - began
    return seen


async def _client(session: aiohttp.ClientSession, queue: Iterator[tuple[str, object]], seen: Crowd) -> None:
    for address, body in queue:
        began = time.monotonic()
        while (retry_after_s := await _ask(session, address, body)) is not None:
            await asyncio.sleep(retry_after_s)
        seen.latencies_s.append(time.monotonic() - began)


async def _ask(session: aiohttp.ClientSession, address: str, body: object) -> int | None:
    """Seconds to wait where there is too much to do; None when there was a picture."""
    async with session.post(address, json=body) as answer:
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return int(answer.headers["Retry-After"])
        answer.raise_for_status()
        assert (await answer.json())["data"][0]["b64_json"], "an answer holds a picture"
    return None
