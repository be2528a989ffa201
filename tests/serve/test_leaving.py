"""Whoever leaves frees the place within one step: of a studio, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.studio import Studio
from ladd_ray.inference.walk import Order
from tests.serve.endpoints import studio_endpoint
from tests.serve.studios import MOST_S, Steps, gated_studio

ORDER = Order("generate", "a red apple", 64, 64, seeds=(1, 2, 3), num_inference_steps=50)


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def studio(tiny_folder: Path, steps: Steps) -> Iterator[Studio]:
    with gated_studio(tiny_folder, steps) as made:
        yield made


@pytest.fixture
def address(studio: Studio) -> Iterator[str]:
    with studio_endpoint(studio) as found:
        yield found


def eventually_empty(studio: Studio) -> None:
    """Nothing takes part any more, and no step is needed for that."""
    until = time.monotonic() + MOST_S
    while len(studio.loop) or studio.admission.backlog:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_order_that_is_cancelled_takes_no_further_step(studio: Studio, steps: Steps) -> None:
    async def impatient() -> None:
        drawing = asyncio.ensure_future(anext(studio.draw(ORDER)))
        await asyncio.to_thread(steps.wait)
        steps.allow(1)
        await asyncio.to_thread(steps.wait)
        drawing.cancel()
        await asyncio.wait([drawing])

    asyncio.run(impatient())
    eventually_empty(studio)
    steps.allow(2)
    following = replace(ORDER, seeds=(1,), num_inference_steps=1)
    drawn = asyncio.run(first_of(studio, following))
    assert steps.begun == 3
    assert drawn.timings
    assert drawn.timings.rows == (1,)


async def first_of(studio: Studio, order: Order) -> Drawn:
    async with aclosing(studio.draw(order)) as drawings:
        return await anext(drawings)


@contextmanager
def asking(address: str, **fields: Any) -> Iterator[socket.socket]:
    """A connection on which something was asked for, and which is then cut."""
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"prompt": "a cat", **fields})
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=MOST_S) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        yield connection


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_takes_no_further_step(
    studio: Studio, steps: Steps, address: str, *, stream: bool
) -> None:
    with asking(address, n=3, num_inference_steps=50, stream=stream):
        steps.wait()
        steps.allow(1)
        steps.wait()
        assert studio.admission.backlog > 0
    eventually_empty(studio)
    assert steps.begun == 2


def test_a_client_that_hangs_up_after_a_preview_takes_no_further_step(
    studio: Studio, steps: Steps, address: str
) -> None:
    with asking(address, num_inference_steps=4, stream=True, partial_images=3) as connection:
        steps.allow(1)
        steps.wait()
        steps.wait()
        received = b""
        while b"image_generation.partial_image" not in received:
            received += connection.recv(65536)
    eventually_empty(studio)
    assert steps.begun == 2
