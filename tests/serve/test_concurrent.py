"""Sixty-four at once with the official asynchronous client: everybody gets what they would have got alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import openai

from tests.serve.endpoints import KEY
from tests.serve.pictures import alpha_mask, photo_file, white_mask

Ask = dict[str, Any]
MOST_AT_ONCE = 64


def ask(prompt: str, *, seed: int, files: dict[str, bytes] | None = None, **fields: Any) -> Ask:
    """What to call the client with; what it does not know goes into the body."""
    own = {"n", "size", "stream", "partial_images", "output_format"}
    extra = {name: value for name, value in fields.items() if name not in own}
    named = {name: value for name, value in fields.items() if name in own}
    return {"prompt": prompt, **(files or {}), **named, "extra_body": {"seed": seed, **extra}}


PHOTO, HOLED = {"image": photo_file(1)}, {"image": photo_file(2), "mask": alpha_mask()}
WHITE = {"image": photo_file(3), "mask": white_mask()}
ASKS: list[Ask] = [
    ask("a red apple", seed=0),
    ask("a red apple", seed=1, num_inference_steps=1),
    ask("two blue cat", seed=2, num_inference_steps=2, n=3),
    ask("a cat", seed=3, size="80x48"),
    ask("a cat", seed=4, size="48x80", num_inference_steps=3, n=2),
    ask("a green banana", seed=5, stream=True, partial_images=2),
    ask("a green banana", seed=6, stream=True, n=2, num_inference_steps=2, partial_images=1),
    ask("a cat", seed=7, output_format="webp", text_guidance=4.5),
    ask("blue background", seed=8, files=PHOTO),
    ask("blue background", seed=9, files=PHOTO, text_guidance=2.0, image_guidance=2.5, n=2),
    ask("red", seed=10, files=PHOTO, stream=True, partial_images=1, num_inference_steps=2),
    ask("a red apple", seed=11, files=HOLED),
    ask("a red apple", seed=12, files=HOLED, num_inference_steps=1, n=2),
    ask("a cat", seed=13, files=WHITE, mask_polarity="white", num_inference_steps=2),
    ask("a cat", seed=14, files=HOLED, stream=True, partial_images=3),
    ask("a cat", seed=15, files=PHOTO, output_format="jpeg", num_inference_steps=3),
]


async def pictures_of(client: openai.AsyncOpenAI, wanted: Ask) -> list[tuple[Any, ...]]:
    """Everything that came, as files: finished pictures by place, and previews by place and number."""
    verb: Any = client.images.edit if "image" in wanted else client.images.generate
    answer = await verb(**wanted)
    if wanted.get("stream"):
        events = [event async for event in answer]
        found = [(event.index, getattr(event, "partial_image_index", 99), event.b64_json) for event in events]
        return sorted(found)
    return [(index, 99, image.b64_json) for index, image in enumerate(answer.data)]


async def leaves(client: openai.AsyncOpenAI, wanted: Ask, *, after_s: float) -> None:
    """Asks for much, and is gone soon."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pictures_of(client, {**wanted, "n": 10}), after_s)


async def everybody(address: str, asks: Sequence[Ask], *, at_once: int, leaving: int) -> list[list[tuple[Any, ...]]]:
    gate = asyncio.Semaphore(at_once)
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=120) as client:

        async def one(wanted: Ask) -> list[tuple[Any, ...]]:
            async with gate:
                return await pictures_of(client, wanted)

        gone = [asyncio.create_task(leaves(client, ASKS[-index], after_s=0.05 * index)) for index in range(leaving)]
        found = await asyncio.gather(*(one(wanted) for wanted in asks))
        await asyncio.gather(*gone)
    return found


def test_sixty_four_at_once_get_what_each_gets_alone(address: str) -> None:
    alone = asyncio.run(everybody(address, ASKS, at_once=1, leaving=0))
    leaving = 8
    crowd = [ASKS[index % len(ASKS)] for index in range(MOST_AT_ONCE - leaving)]
    together = asyncio.run(everybody(address, crowd, at_once=MOST_AT_ONCE, leaving=leaving))
    for index, found in enumerate(together):
        assert found == alone[index % len(ASKS)], crowd[index]
    counts = [len(found) for found in alone]
    assert counts == [1, 1, 3, 1, 2, 3, 4, 1, 1, 2, 2, 1, 2, 1, 4, 1]
