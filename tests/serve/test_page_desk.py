"""What stands behind the page: its way to the API, drafts, uploads and snippets. Without Gradio."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from serve.errors import ApiError, bad_request
from serve.page import check_gradio
from serve.page.client import ApiClient
from serve.page.newest import Newest
from serve.page.pictures import fitted
from serve.page.snippets import snippets
from serve.schemas import ModelCard

CARD = ModelCard(
    id="student",
    created=0,
    fingerprint="f" * 16,
    version=None,
    tasks=["generate"],
    native_size="64x64",
    size_multiple=16,
    largest_side=128,
    default_steps=4,
    most_steps=4,
    text_guidance=None,
    image_guidance=None,
    default_text_guidance=None,
    default_image_guidance=None,
)


class App:
    """Answers with a status and chunks of a body; the last of them may be a wait."""

    def __init__(self, chunks: Sequence[bytes | float], *, status: int = 200) -> None:
        self._chunks, self._status = chunks, status
        self.scope: Scope = {}
        self.body: Any = None
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.body = (await receive())["body"]
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        try:
            for chunk in self._chunks:
                if isinstance(chunk, float):
                    await asyncio.sleep(chunk)
                else:
                    await send(self._part(chunk))
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    @staticmethod
    def _part(chunk: bytes) -> Message:
        return {"type": "http.response.body", "body": chunk, "more_body": True}


def event(**fields: Any) -> bytes:
    return f"event: x\ndata: {json.dumps(fields)}\n\n".encode()


async def heard(app: App, *, most: int = 99, key: str = "k") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    events = ApiClient(app).events("/v1/images/generations", {"prompt": "a"}, key=key)
    async for each in events:
        found.append(each)
        if len(found) == most:
            break
    await events.aclose()
    return found


def test_events_come_whole_however_they_are_cut() -> None:
    stream = event(index=0) + event(index=1)
    app = App([stream[:9], stream[9:30], stream[30:]])
    assert asyncio.run(heard(app)) == [{"index": 0}, {"index": 1}]
    assert json.loads(app.body) == {"prompt": "a", "stream": True}
    assert dict(app.scope["headers"])[b"authorization"] == b"Bearer k"


def test_a_key_is_what_the_guard_reads() -> None:
    app = App([])
    asyncio.run(heard(app, key="k\u00e4y"))
    assert Headers(scope=app.scope)["authorization"] == "Bearer k\u00e4y"
    asyncio.run(heard(app, key="k\u4e00y"))
    assert Headers(scope=app.scope)["authorization"] == "Bearer k?y"


def test_without_a_key_no_header_is_sent() -> None:
    app = App([event(index=0)])
    asyncio.run(heard(app, key=""))
    assert b"authorization" not in dict(app.scope["headers"])


def test_whoever_leaves_ends_the_work() -> None:
    app = App([event(index=0), 60.0])
    assert asyncio.run(heard(app, most=1)) == [{"index": 0}]
    assert app.cancelled


@pytest.mark.parametrize(("stream", "status"), [(False, 400), (True, 500)])
def test_refusals_keep_their_words(stream: bool, status: int) -> None:
    envelope = bad_request("too large", param="size").refusal.envelope.model_dump()
    app = App([event(index=0), event(**envelope)]) if stream else App([json.dumps(envelope).encode()], status=400)
    with pytest.raises(ApiError) as caught:
        asyncio.run(heard(app))
    refusal = caught.value.refusal
    assert (refusal.status, refusal.message, refusal.param) == (status, "too large", "size")


class Strokes:
    """Work that draws a line, and hears when it is ended."""

    def __init__(self, name: str, *, seconds: float = 0.0) -> None:
        self._name, self._seconds = name, seconds
        self.ended = False

    async def drawn(self) -> AsyncGenerator[str, None]:
        try:
            yield f"{self._name} begun"
            await asyncio.sleep(self._seconds)
            yield f"{self._name} done"
        finally:
            self.ended = True


async def follow(newest: Newest[str], visitor: str, strokes: Strokes) -> list[str]:
    return [each async for each in newest.only(visitor, strokes.drawn())]


def test_of_a_visitors_work_only_the_newest_goes_on() -> None:
    newest: Newest[str] = Newest()
    old = Strokes("old", seconds=60)

    async def type_on() -> list[list[str]]:
        first = asyncio.ensure_future(follow(newest, "ann", old))
        await asyncio.sleep(0.05)
        other = asyncio.ensure_future(follow(newest, "bob", Strokes("other")))
        second = asyncio.ensure_future(follow(newest, "ann", Strokes("second")))
        return list(await asyncio.gather(first, other, second))

    first, other, second = asyncio.run(asyncio.wait_for(type_on(), 10))
    assert first == ["old begun"]
    assert other == ["other begun", "other done"]
    assert second == ["second begun", "second done"]
    assert old.ended


def test_work_ends_while_its_result_is_being_shown() -> None:
    newest: Newest[str] = Newest()
    strokes = Strokes("old")

    async def replaced() -> list[str]:
        found = []
        async for each in newest.only("ann", strokes.drawn()):
            found.append(each)
            newest.stop("ann")
        return found

    assert asyncio.run(replaced()) == ["old begun"]
    assert strokes.ended


def test_work_that_nobody_waits_for_is_ended() -> None:
    newest: Newest[str] = Newest()
    strokes = Strokes("left", seconds=60)

    async def leave() -> None:
        waiting = asyncio.ensure_future(follow(newest, "ann", strokes))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert strokes.ended

    asyncio.run(leave())


def test_errors_of_the_work_come_through() -> None:
    async def failing() -> AsyncGenerator[str, None]:
        yield "begun"
        raise bad_request("no")

    async def followed() -> None:
        async for _ in Newest[str]().only("ann", failing()):
            pass

    with pytest.raises(ApiError):
        asyncio.run(followed())


@pytest.mark.parametrize(
    ("came", "fits"),
    [
        ((64, 96), (64, 96)),
        ((128, 128), (128, 128)),
        ((3000, 4000), (48, 64)),
        ((65, 64), (64, 64)),
        ((20, 900), (32, 96)),
        ((900, 20), (96, 32)),
        ((7, 7), (64, 64)),
    ],
)
def test_uploads_become_what_the_model_draws(came: tuple[int, int], fits: tuple[int, int]) -> None:
    picture = np.zeros((*came, 3), np.uint8)
    assert fitted(picture, CARD).shape[:2] == fits


def test_a_picture_that_fits_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert fitted(picture, CARD) is picture


def test_snippets_survive_any_prompt() -> None:
    prompt = """it's "a $HOME `cat` \\ on\nfire; rm -rf" @x"""
    plain = snippets({"prompt": prompt, "seed": 1}, address="http://h", keyed=False)
    *_, body = shlex.split(plain.curl)
    assert json.loads(body) == {"prompt": prompt, "seed": 1}
    compile(plain.python, "snippet", "exec")
    edit = snippets({"prompt": prompt}, address="http://h", files={"image": "picture.png"}, keyed=True)
    words = shlex.split(edit.curl)
    assert words[-2:] == ["--form-string", f"prompt={prompt}"]
    assert "image=@picture.png" in words
    assert "Authorization: Bearer $IMAGES_KEY" in words
    assert 'image=Path("picture.png")' in edit.python


def test_a_missing_gradio_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gradio()
    monkeypatch.setattr("serve.page.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"ladd-ray\[page\].*page=false"):
        check_gradio()
