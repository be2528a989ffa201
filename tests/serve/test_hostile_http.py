"""Requests that lie, dawdle or try to switch something off; the endpoint answers them, or hangs up, and goes on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from serve.gateway import Gateway
from serve.routes import make_app
from serve.settings import Limits
from tests.ports import HOST
from tests.serve.actors import Actor
from tests.serve.endpoints import KEY, running

PATH = "/v1/images/generations"


def connect(address: str) -> socket.socket:
    return socket.create_connection((HOST, urlsplit(address).port or 80), timeout=60)


def head(*lines: str, method: str = "POST", path: str = PATH, kind: str = "application/json") -> bytes:
    """Of a request, with the empty line that ends it."""
    key = f"Authorization: Bearer {KEY}"
    every = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", key, "Connection: close", f"Content-Type: {kind}"]
    return "\r\n".join([*every, *lines, "", ""]).encode("latin-1")


def exchanged(address: str, request: bytes, *, patience_s: float = 60) -> bytes:
    """What comes back until the other side closes, or nothing more comes."""
    with connect(address) as connection:
        connection.settimeout(patience_s)
        connection.sendall(request)
        return b"".join(received(connection))


def received(connection: socket.socket) -> Iterator[bytes]:
    try:
        while part := connection.recv(65536):
            yield part
    except (TimeoutError, ConnectionResetError):
        return


def status(answer: bytes) -> int | None:
    """None of a connection that was closed."""
    return int(answer.split(b" ", 2)[1]) if answer else None


def error_of(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return found


BODY = json.dumps({"prompt": "a cat", "seed": 1, "num_inference_steps": 1}).encode()
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:])) + b"0\r\n\r\n"


def still_draws(address: str) -> None:
    assert status(exchanged(address, head(LENGTH) + BODY)) == 200


@pytest.mark.parametrize(
    "header",
    [
        "x-request-timeout-seconds: 0.000001",
        "x-request-timeout-seconds: soon",
        "x-request-disconnect-disabled: ?1",
        "serve_multiplexed_model_id: nobody",
        "Serve-Multiplexed-Model-Id: nobody",
        "serve_multiplexed_model_id: \xff",
        "x-session-id: mine",
        "x-request-id: ../../etc/passwd",
        "x-request-id: \xff\xfe",
        "forwarded: for=127.0.0.1; proto=https",
        "content-encoding: gzip",
        "accept: text/html",
        "accept-encoding: gzip",
        f"x-anything: {'a' * 8000}",
    ],
)
def test_headers_change_nothing(client: openai.OpenAI, address: str, header: str) -> None:
    plain = client.images.generate(prompt="a cat", extra_body={"seed": 1, "num_inference_steps": 1})
    answer = exchanged(address, head(LENGTH, header) + BODY)
    assert status(answer) == 200
    assert plain.data[0].b64_json.encode() in answer


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        (head("Transfer-Encoding: chunked") + CHUNKS, {200}),
        (head("Transfer-Encoding: chunked") + b"zz\r\n" + BODY, {400, None}),
        (head("Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n" + BODY, {400, 413, None}),
        (head("Content-Length: 10") + BODY, {400}),
        (head("Content-Length: -1") + BODY, {400, 413, None}),
        (head("Content-Length: 99999999999999999999999999") + BODY, {400, 413, None}),
        (head(LENGTH, "Content-Length: 1") + BODY, {400, None}),
        (head(LENGTH, "Transfer-Encoding: chunked") + CHUNKS, {200, 400, None}),
        (head("Content-Length: 0"), {400}),
        (head(LENGTH, method="BREW") + BODY, {400, 405, None}),
        (head(method="GET", path="//v1/models"), {401, 404}),
        (head(method="GET", path="/V1/models"), {404}),
        (head(method="GET", path="/v1/../v1/models"), {404}),
        (head(method="GET", path="/v1/models/" + "a" * 3000), {404}),
        (head(method="GET", path="/v1/models/%00%ff"), {404}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400, None}),
        (b"GET / HTTP/9.9\r\n\r\n", {400, 505, None}),
    ],
    ids=lambda value: value[:60].decode("latin-1").split("\r")[0] if isinstance(value, bytes) else "",
)
def test_broken_requests_are_refused_or_cut_off(address: str, request_: bytes, allowed: set[int | None]) -> None:
    found = exchanged(address, request_, patience_s=20)
    assert status(found) in allowed
    still_draws(address)


@pytest.mark.parametrize(
    "path", ["/v1/models", "/%761/models", "/v1/images/../models", "//v1/models", "/v1/models?key=a"]
)
def test_no_way_leads_around_the_key(address: str, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    found = exchanged(address, request)
    assert status(found) in (401, 404)
    assert b"student" not in found


def leave_in_the_middle_of_bodies(address: str) -> None:
    for _ in range(20):
        with connect(address) as connection:
            connection.sendall(head("Content-Length: 1000") + BODY)


@contextmanager
def dawdlers(address: str) -> Iterator[None]:
    """Slow heads, and slow bodies."""
    with ExitStack() as stack:
        for index in range(100):
            connection = stack.enter_context(connect(address))
            connection.sendall(head("Content-Length: 1000") if index % 2 else b"POST /v1/images/generations HT")
        yield


def test_a_client_that_leaves_in_the_middle_of_its_body_costs_nothing(address: str) -> None:
    leave_in_the_middle_of_bodies(address)
    still_draws(address)


def test_those_who_dawdle_keep_nobody_waiting(address: str) -> None:
    """Each holds a connection, and nothing else."""
    with dawdlers(address):
        still_draws(address)


def test_nobody_keeps_a_place_who_leaves_dawdles_or_is_wrong() -> None:
    with endpoint(Actor(), max_requests=4) as address:
        leave_in_the_middle_of_bodies(address)
        for _ in range(5):
            assert status(exchanged(address, head("Content-Length: 2") + b"{}")) == 400
        with dawdlers(address):
            for _ in range(5):
                still_draws(address)


def test_large_bodies_end_early(address: str) -> None:
    """They are refused long before they have been sent."""
    for request in (head("Content-Length: 100000000"), head("Transfer-Encoding: chunked")):
        with connect(address) as connection:
            connection.sendall(request)
            total = 0
            try:
                while total < 100_000_000:
                    connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                    total += 65536
                    # Whoever sends without a pause fills buffers before anybody else gets to run.
                    time.sleep(0.002)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert total < 90_000_000
    still_draws(address)


@contextmanager
def endpoint(actor: Actor, **limits: Any) -> Iterator[str]:
    with running(make_app(Gateway({"actor": actor}, limits=Limits(**limits)), max_body_bytes=4096)) as address:
        yield address


FORM = "multipart/form-data; boundary=a"


@pytest.mark.parametrize(
    ("path", "kind", "start"),
    [
        (PATH, "application/json", BODY),
        ("/v1/images/edits", "application/json", b""),
        ("/v1/images/edits", FORM, b"--a\r\n"),
    ],
)
def test_a_body_that_does_not_end_is_given_up(path: str, kind: str, start: bytes) -> None:
    with endpoint(Actor(), max_deadline_s=0.5) as address:
        answer = exchanged(address, head("Content-Length: 1000", path=path, kind=kind) + start)
    assert (status(answer), error_of(answer)["code"]) == (408, "body_too_slow")


def test_a_stream_counts_until_its_end() -> None:
    body = json.dumps({"prompt": "a", "n": 10, "stream": True}).encode()
    with endpoint(Actor(pause_s=60), max_requests=1) as address, httpx2.Client(timeout=60) as client:
        with connect(address) as reader:
            reader.sendall(head(f"Content-Length: {len(body)}") + body)
            assert status(reader.recv(100)) == 200
            assert client.post(address + PATH, json={"prompt": "a"}).status_code == 429
        patience = time.monotonic() + 30
        while (found := client.post(address + PATH, json={}).status_code) == 429:
            assert time.monotonic() < patience, "the place of a client that left stays taken"
            time.sleep(0.1)
        assert found == 400
