"""The routes over models that misbehave: every failure is an answer that the official clients can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from ladd_ray.admission import Overloaded
from ladd_ray.inference.studio import PromptTooLong
from serve.errors import from_drawing, not_ready
from serve.gateway import Gateway
from serve.routes import make_app
from serve.settings import Limits
from tests.serve.actors import Actor, client_of, post


def test_pictures_come_in_the_order_of_their_seeds() -> None:
    found = asyncio.run(post(Actor(), n=3, seed=4)).json()
    assert [image["seed"] for image in found["data"]] == [4, 5, 6]
    assert len({image["b64_json"] for image in found["data"]}) == 3
    assert found["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
        "output_tokens": 48,
        "total_tokens": 53,
    }
    assert found["metrics"]["denoise_ms"] == pytest.approx(400)
    assert found["metrics"]["rows_per_step"] == 3


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (from_drawing(Overloaded(50.0, retry_after_s=21)), 429, "overloaded"),
        (from_drawing(TimeoutError("too late")), 504, "deadline_exceeded"),
        (from_drawing(PromptTooLong("shorten it")), 400, "prompt_too_long"),
        (from_drawing(ValueError("no such guidance")), 400, None),
        (from_drawing(ArithmeticError("secret")), 500, "model_failed"),
        (not_ready("wait"), 503, "model_not_ready"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_what_goes_wrong_is_told_in_the_envelope(error: Exception, status: int, code: str | None) -> None:
    for stream in (False, True):
        actor = Actor(pictures=0, error=error)
        found = asyncio.run(post(actor, stream=stream))
        assert (found.status_code, found.json()["error"]["code"]) == (status, code)
        assert "secret" not in found.text
        assert actor.closed
    if status == 429:
        assert found.headers["retry-after"] == "21"


@pytest.mark.parametrize(
    ("error", "code"),
    [(from_drawing(TimeoutError("too late")), "deadline_exceeded"), (RuntimeError("secret"), "internal_error")],
)
def test_an_error_in_the_middle_ends_a_stream_as_its_last_event(error: Exception, code: str) -> None:
    found = asyncio.run(post(Actor(pictures=1, error=error), stream=True, n=2))
    assert (found.status_code, found.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events = [dict(line.split(": ", 1) for line in event.split("\n")) for event in found.text.strip().split("\n\n")]
    assert [event["event"] for event in events] == ["image_generation.completed", "error"]
    assert json.loads(events[1]["data"])["error"]["code"] == code
    assert "secret" not in found.text


def test_a_model_that_is_not_ready_makes_the_endpoint_unready() -> None:
    async def ready(actor: Actor) -> int:
        async with client_of(actor) as client:
            return (await client.get("/ready")).status_code

    assert asyncio.run(ready(Actor())) == 200
    assert asyncio.run(ready(Actor(error=not_ready("wait")))) == 503


def test_one_model_that_is_not_ready_hides_no_other() -> None:
    async def listed(**artists: Actor) -> httpx2.Response:
        app = make_app(Gateway(artists, limits=Limits()), max_body_bytes=4096)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
            return await client.get("/v1/models")

    found = asyncio.run(listed(first=Actor(unready=True), second=Actor()))
    assert [model["id"] for model in found.json()["data"]] == ["second"]
    none = asyncio.run(listed(first=Actor(unready=True)))
    assert (none.status_code, none.json()["error"]["code"]) == (503, "model_not_ready")


def test_many_who_ask_whether_it_is_ready_get_one_answer() -> None:
    actor = Actor()

    async def ask() -> list[int]:
        async with client_of(actor) as client:
            answers = [await asyncio.gather(*(client.get("/ready") for _ in range(20))), [await client.get("/ready")]]
            return [answer.status_code for some in answers for answer in some]

    assert asyncio.run(ask()) == [200] * 21
    assert actor.checks == 2


def test_the_default_model_is_known_by_its_own_name() -> None:
    async def card() -> Any:
        async with client_of(Actor()) as client:
            return (await client.get("/v1/models/default")).json()

    assert asyncio.run(card())["id"] == "actor"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_edits_of_another_content_type_are_refused(kind: str) -> None:
    async def send() -> httpx2.Response:
        async with client_of(Actor()) as client:
            return await client.post("/v1/images/edits", content=b"a", headers={"content-type": kind})

    found = asyncio.run(send())
    assert (found.status_code, found.json()["error"]["code"]) == (415, "unsupported_media_type")


CUT = 'Content-Disposition: form-data; name="prompt"\r\n\r\na'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--a--"),
        ("multipart/form-data; boundary=a", b"hello"),
        ("multipart/form-data; boundary=a", f"--a\r\n{CUT}".encode()),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data\r\n\r\na\r\n--a--"),
        ("multipart/form-data; boundary=a; charset=idna", f"--a\r\n{CUT}\xff..\r\n--a--".encode("latin-1")),
        ("multipart/form-data; boundary=a; charset=undefined", f"--a\r\n{CUT}\r\n--a--".encode()),
        ("multipart/form-data; boundary=a; charset=utf-7", f"--a\r\n{CUT}+2AA-\r\n--a--".encode()),
        (
            "multipart/form-data; boundary=a; charset=utf-7",
            f"--a\r\n{CUT.replace('prompt', '+2AA-')}\r\n--a--".encode(),
        ),
        ("application/json", b"{" * 3000),
        ("application/json", b"[" * 3000),
        ("application/json", b'{"prompt": "\xff"}'),
        ("application/json", b'{"prompt": "\\ud800"}'),
        ("application/json", b'{"\\ud800": 1, "prompt": "a"}'),
        ("application/json", b'{"prompt": "a", "model": "\\ud800"}'),
        ("application/json", b'{"prompt": "a", "seed": ' + b"9" * 3000 + b"}"),
        ("application/json", b'{"prompt": "a", "text_guidance": NaN}'),
        ("application/json", b'{"prompt": "a", "text_guidance": 1e999}'),
        ("application/json", b'{"prompt": "a", "' + b"x" * 3000 + b'": 1}'),
    ],
)
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits"])
def test_bodies_that_cannot_be_read_are_refused(path: str, kind: str, body: bytes) -> None:
    async def send() -> httpx2.Response:
        async with client_of(Actor()) as client:
            return await client.post(path, content=body, headers={"content-type": kind})

    found = asyncio.run(send())
    assert found.status_code == 400
    assert found.json()["error"]["type"] == "invalid_request_error"
    assert len(found.content) < 2000


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({"prompt": "a", "image": "b"}, ["mask"], "image"),
        ({"prompt": "a"}, ["mask"], "image"),
        ({"prompt": ["a", "b"]}, ["image"], "prompt"),
        ({}, ["image"], "prompt"),
        ({"prompt": "a", "seed": "x"}, ["image"], "seed"),
        ({"prompt": "a"}, ["image", "picture"], "picture"),
        ({"prompt": "a"}, ["image", "mask", "mask"], "mask"),
        ({"prompt": "a", "x": "b"}, ["image"], "x"),
        ({"prompt": "a", "mask_polarity": "openai"}, ["image"], "mask_polarity"),
        ({"prompt": "a"}, ["image"] * 18, None),
    ],
)
def test_forms_are_checked_like_json(data: dict[str, Any], files: list[str], param: str | None) -> None:
    async def send() -> httpx2.Response:
        async with client_of(Actor()) as client:
            return await client.post("/v1/images/edits", data=data, files=[(name, b"x") for name in files])

    found = asyncio.run(send())
    assert (found.status_code, found.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(("polarity", "param"), [("white", "mask_polarity"), (None, "image")])
def test_how_to_read_a_mask_needs_one(polarity: str | None, param: str) -> None:
    """Null is left out; then it is the picture that is none."""

    async def send() -> httpx2.Response:
        async with client_of(Actor()) as client:
            images = [{"image_url": "data:image/png;base64,YQ=="}]
            body = {"prompt": "a", "images": images, "mask_polarity": polarity}
            return await client.post("/v1/images/edits", json=body)

    found = asyncio.run(send())
    assert (found.status_code, found.json()["error"]["param"]) == (400, param)
