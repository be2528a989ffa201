"""Endpoints to test: the HTTP side over studios in this process, and everything on Ray Serve."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
import uvicorn
from fastapi import FastAPI
from ray import serve as ray_serve

from ladd_ray.inference.facts import facts_of
from ladd_ray.inference.studio import Studio
from serve.app import build
from serve.gateway import Gateway
from serve.guards import key_digests
from serve.loading import load, open_studio, warm_up
from serve.page import add_page
from serve.routes import make_app
from serve.settings import EndpointSettings, Limits
from tests.ports import HOST, free_port
from tests.serve.studios import LocalArtist

_ATTEMPTS = 5
KEY = "sk-test"
"""One of the bearer tokens that they ask for."""
_KEEP_ALIVE_S = 75
"""For which a server keeps an idle connection: longer than a client does, as serve/config.yaml has it. Else it may
close one just when the client's next request comes, and the client sees a failure."""


@contextmanager
def plain_endpoint(settings: EndpointSettings) -> Iterator[str]:
    """The address of an endpoint that needs no cluster."""
    loaded = {model.name: load(model) for model in settings.all_models}
    studios = {name: open_studio(pipeline, settings.batch) for name, (pipeline, _) in loaded.items()}
    for name, studio in studios.items():
        asyncio.run(warm_up(studio, loaded[name][1], rows=settings.batch.max_rows))
    artists = {name: LocalArtist(studio, facts=loaded[name][1]) for name, studio in studios.items()}
    app = make_app(
        Gateway(artists, limits=settings.limits),
        max_body_bytes=settings.limits.max_body_bytes,
        key_digests=key_digests(settings.api_keys_file),
    )
    if settings.page:
        add_page(app, max_pixels=settings.limits.max_pixels, key_digests=key_digests(settings.api_keys_file))
    try:
        with running(app) as address:
            yield address
    finally:
        for studio in studios.values():
            studio.close()


@contextmanager
def studio_endpoint(studio: Studio) -> Iterator[str]:
    """The address of an endpoint over one studio."""
    artist = LocalArtist(studio, facts=facts_of(studio.pipeline, fingerprint="f"))
    with running(make_app(Gateway({"studio": artist}, limits=Limits()), max_body_bytes=4096)) as found:
        yield found


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of an application served from another thread."""
    # Bound here: of a port that is only known to be free, another process may be the first to take it.
    with socket.create_server((HOST, 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=_KEEP_ALIVE_S))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server has not started"
            time.sleep(0.01)
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def ray_serving() -> Iterator[str]:
    """The address of a Ray Serve without applications, on a cluster of its own."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "serve.proxy:proxy_middlewares")
        patch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
        # Workers are nicer than everybody else by default: beside other work they would get nothing done.
        patch.setenv("RAY_worker_niceness", "0")
        _start_ray()
        try:
            ray_serve.start(http_options={"host": HOST, "port": port})
            yield f"http://{HOST}:{port}"
        finally:
            ray_serve.shutdown()
            ray.shutdown()


def _start_ray() -> None:
    """A busy machine may need longer than the 30 seconds that Ray gives itself."""
    for attempt in reversed(range(_ATTEMPTS)):
        try:
            ray.init(
                "local",
                num_cpus=2,
                include_dashboard=False,
                logging_level="warning",
                log_to_driver=False,
                _system_config={"metrics_report_interval_ms": 1000},
            )
            return
        except Exception as error:
            ray.shutdown()
            if not attempt or "timed out" not in str(error):
                raise


@contextmanager
def ray_application(settings: EndpointSettings, *, name: str = "default", route_prefix: str = "/") -> Iterator[None]:
    """An endpoint on the Ray Serve that is there."""
    ray_serve.run(build(settings), name=name, route_prefix=route_prefix)
    try:
        yield
    finally:
        ray_serve.delete(name)


@contextmanager
def ray_endpoint(settings: EndpointSettings) -> Iterator[str]:
    """The address of an endpoint on a cluster of its own."""
    with ray_serving() as address, ray_application(settings):
        yield address
