"""What an endpoint refuses, gives up and limits, as the official client sees it; with and without Ray."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from tests.serve.endpoints import KEY
from tests.serve.pictures import alpha_mask, photo_file, pictures, white_mask


def refused(work: Any, kind: type[openai.APIStatusError], **expected: Any) -> openai.APIStatusError:
    with pytest.raises(kind) as caught:
        work()
    error = caught.value
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert {name: getattr(error, name) for name in expected} == expected
    return error


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "cat " * 60}, "prompt"),
        ({"prompt": "a", "n": 11}, "n"),
        ({"prompt": "a", "size": "60x64"}, "size"),
        ({"prompt": "a", "size": "100000x64"}, "size"),
        ({"prompt": "a", "background": "transparent"}, "background"),
        ({"prompt": "a", "output_compression": 50}, "output_compression"),
        ({"prompt": "a", "extra_body": {"num_inference_steps": 5}}, "num_inference_steps"),
        ({"prompt": "a", "extra_body": {"text_guidance": 99.0}}, "text_guidance"),
        ({"prompt": "a", "extra_body": {"negative_prompt": "b"}}, "negative_prompt"),
        ({"prompt": "a", "stream": True, "extra_body": {"seed": -1}}, "seed"),
    ],
)
def test_wrong_generations_name_the_parameter(client: openai.OpenAI, ask: dict[str, Any], param: str) -> None:
    refused(lambda: client.images.generate(**ask), openai.BadRequestError, param=param, type="invalid_request_error")


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        ({"image": b"no picture"}, "image"),
        ({"image": [photo_file(), photo_file(1)]}, "image"),
        ({"image": photo_file(width=80), "mask": alpha_mask()}, "mask"),
        ({"image": photo_file(), "mask": white_mask()}, "mask"),
        ({"image": photo_file(), "size": "128x128"}, "size"),
        ({"image": photo_file(), "input_fidelity": "high"}, "input_fidelity"),
        ({"image": photo_file(), "model": "guided"}, "model"),
        ({"image": photo_file(), "mask": alpha_mask(), "extra_body": {"text_guidance": 2.0}}, "text_guidance"),
    ],
)
def test_wrong_edits_name_the_parameter(client: openai.OpenAI, ask: dict[str, Any], param: str) -> None:
    refused(lambda: client.images.edit(prompt="a", **ask), openai.BadRequestError, param=param)


def test_models_are_listed_and_chosen_by_name(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["student", "guided"]
    assert client.models.retrieve("student").most_steps == 4  # type: ignore[attr-defined]
    default, named, other = (
        client.images.generate(prompt="a cat", **choice, extra_body={"seed": 1, "num_inference_steps": 2})
        for choice in ({"model": "default"}, {"model": "student"}, {"model": "guided"})
    )
    assert np.array_equal(pictures(default)[0], pictures(named)[0])
    assert not np.array_equal(pictures(other)[0], pictures(named)[0])
    for work in (lambda: client.images.generate(prompt="a", model="dall-e-3"), lambda: client.models.retrieve("x")):
        refused(work, openai.NotFoundError, code="model_not_found", param="model")


def test_keys_are_asked_for(address: str) -> None:
    for key in ("wrong", KEY[:-1], KEY + "x"):
        with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as stranger:
            refused(stranger.models.list, openai.AuthenticationError, code="invalid_api_key")
    assert httpx2.get(f"{address}/v1/models", timeout=60).status_code == 401
    with openai.OpenAI(base_url=f"{address}/v1", api_key="another", max_retries=0) as friend:
        assert friend.models.list()


def test_bodies_are_limited(client: openai.OpenAI, address: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")
    refused(lambda: client.images.edit(prompt="a", image=buffer.getvalue()), openai.APIStatusError, status_code=413)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    chunks = (b" " * 65536 for _ in range(8))
    answer = httpx2.post(f"{address}/v1/images/generations", content=chunks, headers=headers, timeout=60)
    assert (answer.status_code, set(answer.json())) == (413, {"error"})


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/images/generations", b"{", 400),
        ("POST", "/v1/images/generations", b"[]", 400),
        ("POST", "/v1/images/edits", b"{}", 400),
        ("GET", "/v1/images/generations", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
    ],
)
def test_every_error_comes_in_the_envelope(address: str, method: str, path: str, content: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = httpx2.request(method, address + path, content=content, headers=headers, timeout=60)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_ready_has_drawn_and_health_answers(address: str) -> None:
    assert httpx2.get(f"{address}/health", timeout=60).json() == {"status": "ok"}
    assert httpx2.get(f"{address}/ready", timeout=60).json() == {"status": "ready"}
    document = httpx2.get(f"{address}/openapi.json", timeout=60).json()
    edits = document["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]
    assert set(edits) == {"multipart/form-data", "application/json"}


def test_too_much_work_is_answered_429_with_the_time_to_come_back(address: str) -> None:
    async def flood() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
            ask: dict[str, Any] = {
                "prompt": "a cat",
                "n": 10,
                "model": "guided",
                "extra_body": {"num_inference_steps": 50},
            }
            headers = {"x-deadline-seconds": "2"}
            work = (client.images.generate(**ask, extra_headers=headers) for _ in range(12))
            return await asyncio.gather(*work, return_exceptions=True)

    found = asyncio.run(flood())
    busy = [error for error in found if isinstance(error, openai.RateLimitError)]
    assert busy
    assert all(int(error.response.headers["retry-after"]) >= 1 for error in busy)
    assert all(isinstance(error, openai.APIStatusError) for error in found if isinstance(error, Exception))


def test_past_its_deadline_a_request_ends_and_is_not_retried(client: openai.OpenAI) -> None:
    error = refused(
        lambda: client.with_options(max_retries=2).images.generate(
            prompt="a cat",
            n=10,
            model="guided",
            extra_headers={"x-deadline-seconds": "0.2", "x-request-timeout-seconds": "0"},
            extra_body={"num_inference_steps": 50},
        ),
        openai.InternalServerError,
        code="deadline_exceeded",
    )
    assert error.status_code == 504
    assert error.response.headers["x-should-retry"] == "false"


def probe(client: openai.OpenAI, n: int) -> dict[str, float]:
    """Where the time of a short request goes; it waits where work of those before is still counted."""
    patient = client.with_options(max_retries=5)
    found = patient.images.generate(prompt="a cat", n=n, model="guided", extra_body={"num_inference_steps": 1})
    assert found.model_extra
    metrics: dict[str, float] = found.model_extra["metrics"]
    return metrics


async def leave(address: str, **ask: Any) -> None:
    """Sixteen clients ask for 1000 steps of a full batch, and go before they are done."""
    work = {"prompt": "a cat", "n": 10, "model": "guided", "extra_body": {"num_inference_steps": 50}}
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=1.0) as leaving:

        async def one() -> None:
            answer = await leaving.images.generate(**work, **ask)
            if ask.get("stream"):
                await anext(answer)

        found = await asyncio.gather(*(one() for _ in range(16)), return_exceptions=True)
    # A slow machine does not let all of them in.
    left = [error for error in found if not isinstance(error, openai.RateLimitError)]
    assert left
    assert all(error is None or isinstance(error, openai.APITimeoutError) for error in left)


@pytest.mark.parametrize(
    "ask",
    [{}, {"extra_headers": {"x-request-disconnect-disabled": "?1"}}, {"stream": True, "partial_images": 3}],
    ids=["waiting", "header", "stream"],
)
def test_work_ends_when_the_client_leaves(client: openai.OpenAI, address: str, ask: dict[str, Any]) -> None:
    full_batch_s = probe(client, 8)["denoise_ms"] / 1000
    asyncio.run(leave(address, **ask))
    patience = time.monotonic() + 300 * full_batch_s + 2
    while (rows := probe(client, 1)["rows_per_step"]) > 1 and time.monotonic() < patience:
        time.sleep(0.1)
    assert rows == 1, "somebody who left is still being drawn for"
