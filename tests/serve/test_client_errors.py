"""Every way to fail, as the official client raises it, and what it tries again by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import openai
import pytest

from ladd_ray.admission import Overloaded
from ladd_ray.inference.commission import Drawn
from ladd_ray.inference.walk import Order
from serve.errors import ApiError, from_drawing, no_such_model, not_ready
from serve.gateway import Gateway
from serve.guards import key_digests
from serve.routes import make_app
from serve.settings import Limits
from tests.ports import HOST, free_port
from tests.serve.actors import Actor
from tests.serve.endpoints import running


class Moody(Actor):
    """Raises one error at each request, as long as there are any."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def draw(self, order: Order, *, num_previews: int, within_s: float) -> AsyncGenerator[Drawn, None]:
        if self.errors:
            raise self.errors.pop(0)
        async for drawn in super().draw(order, num_previews=num_previews, within_s=within_s):
            yield drawn


@contextmanager
def client_of(actor: Actor, **options: Any) -> Iterator[openai.OpenAI]:
    app = make_app(Gateway({"actor": actor}, limits=Limits()), max_body_bytes=4096)
    settings = {"max_retries": 0, "timeout": 60, **options}
    with running(app) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none", **settings) as client:
        yield client


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        (from_drawing(ValueError("no such guidance")), openai.BadRequestError, 400, None),
        (no_such_model("a", ["b"]), openai.NotFoundError, 404, "model_not_found"),
        (from_drawing(Overloaded(50.0, retry_after_s=21)), openai.RateLimitError, 429, "overloaded"),
        (from_drawing(ArithmeticError()), openai.InternalServerError, 500, "model_failed"),
        (RuntimeError("secret"), openai.InternalServerError, 500, "internal_error"),
        (not_ready("wait"), openai.InternalServerError, 503, "model_not_ready"),
        (from_drawing(TimeoutError("too late")), openai.InternalServerError, 504, "deadline_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_have_classes(
    error: Exception, kind: type[openai.APIStatusError], status: int, code: str | None, stream: bool
) -> None:
    with client_of(Moody(error)) as client, pytest.raises(kind) as caught:
        client.images.generate(prompt="a", stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] in caught.value.message
    assert "secret" not in str(caught.value.body)


def test_a_wrong_key_is_an_authentication_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADD_RAY_API_KEYS", "right")
    app = make_app(Gateway({"actor": Actor()}, limits=Limits()), max_body_bytes=4096, key_digests=key_digests(None))
    with running(app) as address:
        for key in ("wrong", "Right", "right right", "rightt"):
            with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
                for ask in (client.models.list, lambda: client.images.generate(prompt="a")):
                    with pytest.raises(openai.AuthenticationError) as caught:
                        ask()
                    assert caught.value.code == "invalid_api_key"


def test_an_error_in_the_middle_of_a_stream_is_raised_there() -> None:
    actor = Actor(pictures=1, error=from_drawing(TimeoutError("too late")))
    with client_of(actor) as client:
        stream = client.images.generate(prompt="a", n=2, stream=True)
        assert next(iter(stream)).type == "image_generation.completed"
        with pytest.raises(openai.APIError, match="too late") as caught:
            list(stream)
    assert caught.value.code == "deadline_exceeded"


def test_the_client_gives_up_by_its_own_timeout() -> None:
    with client_of(Actor(pause_s=60), timeout=0.3) as client, pytest.raises(openai.APITimeoutError):
        client.images.generate(prompt="a")


def test_nobody_there_is_a_connection_error() -> None:
    address = f"http://{HOST}:{free_port()}/v1"
    with (
        openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        client.models.list()


def test_what_passes_is_tried_again_until_it_is_answered() -> None:
    """By the client's default of two retries: a busy model, one that is being replaced."""
    replaced = ApiError(replace(not_ready("wait").refusal, headers={"Retry-After": "1"}))
    actor = Moody(from_drawing(Overloaded(50.0, retry_after_s=1)), replaced)
    with client_of(actor, max_retries=openai.DEFAULT_MAX_RETRIES) as client:
        assert client.images.generate(prompt="a").data
    assert not actor.errors


@pytest.mark.parametrize("error", [from_drawing(TimeoutError("too late")), from_drawing(ValueError("never"))])
def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    actor = Moody(error, error, error)
    with client_of(actor, max_retries=openai.DEFAULT_MAX_RETRIES) as client, pytest.raises(openai.APIStatusError):
        client.images.generate(prompt="a")
    assert len(actor.errors) == 2
