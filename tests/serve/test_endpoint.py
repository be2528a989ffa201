"""An endpoint used as its users would: with the official client, once without Ray and once on a real Ray Serve."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from ladd_ray.inference import Pipeline
from ladd_ray.inference.files import read_provenance
from ladd_ray.inference.studio import Studio
from tests.inference.models import hole, photo
from tests.serve.endpoints import KEY, studio_endpoint
from tests.serve.pictures import alpha_mask, data_url, photo_file, pictures, pixels_of, white_mask
from tests.serve.studios import MOST_S, Steps, gated_studio


@pytest.fixture(scope="module")
def pipeline(student_folder: Path) -> Pipeline:
    made = Pipeline.from_pretrained(student_folder)
    made.make_rows_independent()
    return made


def test_a_generated_picture_is_the_pipelines_own(client: openai.OpenAI, pipeline: Pipeline) -> None:
    response = client.images.generate(prompt="a red apple", extra_body={"seed": 5})
    (expected,) = pipeline.generate(["a red apple"], seed=[5])
    assert np.array_equal(pictures(response)[0], np.asarray(expected))
    assert (response.size, response.output_format) == ("64x64", "png")
    assert response.usage
    assert response.usage.output_tokens == 16
    assert response.usage.total_tokens == response.usage.input_tokens + 16


def test_n_pictures_are_n_calls_with_the_next_seeds(client: openai.OpenAI) -> None:
    ask = {"prompt": "two blue cat", "model": "student"}
    together = client.images.generate(**ask, n=3, extra_body={"seed": 7, "num_inference_steps": 2})
    assert [image.seed for image in together.data] == [7, 8, 9]  # type: ignore[attr-defined]
    for seed, found in zip((7, 8, 9), pictures(together), strict=True):
        single = client.images.generate(**ask, extra_body={"seed": seed, "num_inference_steps": 2})
        assert np.array_equal(pictures(single)[0], found)


def test_the_seed_that_was_chosen_gives_the_picture_again(client: openai.OpenAI) -> None:
    first = client.images.generate(prompt="a cat")
    again = client.images.generate(prompt="a cat", extra_body={"seed": first.data[0].seed})
    assert np.array_equal(pictures(first)[0], pictures(again)[0])


def test_an_edit_follows_instruction_and_strengths(client: openai.OpenAI, pipeline: Pipeline) -> None:
    ask = {"prompt": "blue background", "image": ("a.png", photo_file(), "image/png")}
    found = client.images.edit(**ask, extra_body={"seed": 3, "text_guidance": 4.5, "image_guidance": 2.0})
    (expected,) = pipeline.edit([photo()], ["blue background"], seed=[3], text_guidance=4.5, image_guidance=2.0)
    assert np.array_equal(pictures(found)[0], np.asarray(expected))
    assert found.usage
    assert found.usage.input_tokens_details.image_tokens == 16


@pytest.mark.parametrize(("mask", "polarity"), [(alpha_mask(), "openai"), (white_mask(), "white")])
def test_filling_keeps_every_pixel_outside_of_the_mask(client: openai.OpenAI, mask: bytes, polarity: str) -> None:
    found = client.images.edit(
        prompt="a red apple", image=photo_file(), mask=mask, extra_body={"seed": 1, "mask_polarity": polarity}
    )
    (picture,) = pictures(found)
    assert np.array_equal(picture[~hole()], photo()[~hole()])
    assert abs(picture[hole()] - photo()[hole()]).mean() > 1


def test_edits_come_as_json_too(client: openai.OpenAI, address: str) -> None:
    body = {"prompt": "a cat", "images": [{"image_url": data_url(photo_file())}], "seed": 2}
    masked = {**body, "mask": {"image_url": data_url(alpha_mask())}}
    for fields, form in ((body, {}), (masked, {"mask": alpha_mask()})):
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx2.post(f"{address}/v1/images/edits", json=fields, headers=headers, timeout=60)
        by_form = client.images.edit(prompt="a cat", image=photo_file(), extra_body={"seed": 2}, **form)
        assert answer.status_code == 200
        assert np.array_equal(pixels_of(answer.json()["data"][0]["b64_json"]), pictures(by_form)[0])


def test_a_stream_shows_previews_before_the_picture(client: openai.OpenAI) -> None:
    stream = client.images.generate(prompt="a red apple", stream=True, partial_images=3, extra_body={"seed": 5})
    events = list(stream)
    kinds = [event.type.removeprefix("image_generation.") for event in events]
    assert kinds == ["partial_image"] * 3 + ["completed"]
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]  # type: ignore[union-attr]
    whole = client.images.generate(prompt="a red apple", extra_body={"seed": 5})
    assert np.array_equal(pixels_of(events[-1].b64_json), pictures(whole)[0])
    far, near = (abs(pixels_of(events[place].b64_json) - pictures(whole)[0]).mean() for place in (0, 2))
    assert near < far


def test_a_stream_of_edits_keeps_the_pixels_in_every_preview(client: openai.OpenAI) -> None:
    ask = {"prompt": "a cat", "image": photo_file(), "mask": alpha_mask(), "stream": True, "partial_images": 1, "n": 2}
    events = list(client.images.edit(**ask))
    assert sorted(event.type for event in events) == ["image_edit.completed"] * 2 + ["image_edit.partial_image"] * 2
    for event in events:
        assert np.array_equal(pixels_of(event.b64_json)[~hole()], photo()[~hole()])


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_files_say_how_to_make_them_again(client: openai.OpenAI, file_format: Any) -> None:
    ask_format: dict[str, Any] = {"output_format": file_format}
    ask: dict[str, Any] = {"prompt": "a green banana", "response_format": "url", **ask_format}
    response = client.images.generate(**ask, extra_body={"seed": 11, "num_inference_steps": 2})
    url = response.data[0].url
    assert url.startswith(f"data:image/{file_format};base64,")
    found = read_provenance(base64.b64decode(url.partition(",")[2]))
    assert found
    assert (found.prompt, found.seed, found.num_inference_steps) == ("a green banana", 11, 2)
    assert found.sigmas == (1.0, 0.5, 0.0)
    steps = {"seed": found.seed, "num_inference_steps": found.num_inference_steps}
    again = client.images.generate(
        prompt=found.prompt, size=f"{found.width}x{found.height}", **ask_format, extra_body=steps
    )
    assert again.data[0].b64_json == url.partition(",")[2]


def test_metadata_can_be_left_out(client: openai.OpenAI) -> None:
    response = client.images.generate(prompt="a cat", extra_body={"metadata": False})
    assert read_provenance(base64.b64decode(response.data[0].b64_json)) is None


def test_a_crowd_of_everything_gets_what_each_gets_alone(address: str) -> None:
    """Different tasks, sizes, steps and strengths at once; every picture as if nobody else were there."""
    asks: list[dict[str, Any]] = [
        {"prompt": "a red apple", "extra_body": {"seed": seed, "num_inference_steps": 1 + seed % 4}}
        for seed in range(12)
    ]
    asks += [{"prompt": "a cat", "size": "80x48", "extra_body": {"seed": seed}} for seed in range(4)]
    edits: list[dict[str, Any]] = [
        {"prompt": "a cat", "image": photo_file(seed), "extra_body": {"seed": seed, "text_guidance": 1.5 + seed / 2}}
        for seed in range(4)
    ]

    async def everybody(at_once: int) -> list[NDArray[np.int64]]:
        gate = asyncio.Semaphore(at_once)
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:

            async def one(ask: dict[str, Any]) -> Any:
                async with gate:
                    verb = client.images.edit if "image" in ask else client.images.generate
                    return await verb(**ask)

            found = await asyncio.gather(*(one(ask) for ask in asks + edits))
        return [pictures(response)[0] for response in found]

    crowd, alone = asyncio.run(everybody(100)), asyncio.run(everybody(1))
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(crowd, alone, strict=True))


def test_whoever_comes_during_a_step_takes_the_next_one_together(tiny_folder: Path) -> None:
    """Every step waits to be allowed: so it does not matter how fast requests come, and how fast they are drawn."""
    steps = Steps()
    body = {"prompt": "a cat", "num_inference_steps": 2}

    async def crowd(studio: Studio, address: str) -> list[float]:
        async with httpx2.AsyncClient(base_url=address, timeout=MOST_S) as client:
            asked = [asyncio.create_task(client.post("/v1/images/generations", json=body))]
            await asyncio.to_thread(steps.wait)
            asked += [asyncio.create_task(client.post("/v1/images/generations", json=body)) for _ in range(3)]
            async with asyncio.timeout(MOST_S):
                while len(studio.loop) < len(asked):
                    await asyncio.sleep(0.01)
            steps.allow(100)
            return [(await each).json()["metrics"]["rows_per_step"] for each in asked]

    with gated_studio(tiny_folder, steps) as studio, studio_endpoint(studio) as address:
        first, *others = asyncio.run(crowd(studio, address))
    assert first == (1 + 4) / 2
    assert all(rows > 1 for rows in others)
