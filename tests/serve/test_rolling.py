"""A model that is replaced, or whose process dies, while clients draw: none of them sees a failure."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import ray

from ladd_ray.inference.files import read_provenance
from ladd_ray.models.folder import fingerprint
from ladd_ray.registry import Registry
from serve.settings import BatchSettings, EndpointSettings, ModelSettings, RegistrySettings
from tests.inference.models import export_tiny
from tests.serve.endpoints import ray_application

pytestmark = pytest.mark.slow

_WITHIN_S = 120.0


class Crowd:
    """Clients that ask again and again until they are stopped, with the retries of the official client."""

    def __init__(self, address: str, *, clients: int = 4) -> None:
        self.fingerprints: list[str] = []
        """Of the model of every picture, in the order in which they came."""
        self.failures: list[Exception] = []
        self._address = address
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + _WITHIN_S
        while not holds() and time.monotonic() < until:
            time.sleep(0.05)
        assert not self.failures
        assert holds()

    def wait_for_more(self, number: int) -> None:
        """Further pictures."""
        enough = len(self.fingerprints) + number
        self.wait_until(lambda: len(self.fingerprints) >= enough)

    def _ask(self, number: int) -> None:
        with openai.OpenAI(base_url=f"{self._address}/v1", api_key="none", timeout=_WITHIN_S) as client:
            while not self._stopping.is_set():
                try:
                    self.fingerprints.append(drawn_by(client, number))
                except Exception as error:  # noqa: BLE001 - every failure counts
                    self.failures.append(error)


def drawn_by(client: openai.OpenAI, number: int) -> str:
    """One picture, or the last event of a stream."""
    ask: dict[str, Any] = {"prompt": "a red apple", "extra_body": {"seed": number}}
    if number % 2:
        *_, last = client.images.generate(**ask, stream=True, partial_images=2)
        text = last.b64_json
    else:
        text = (client.images.generate(**ask).data or [])[0].b64_json
    provenance = read_provenance(base64.b64decode(text or ""))
    assert provenance
    return provenance.model


@pytest.fixture(scope="module")
def following(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that differs from the first one: other weights, fewer steps, no knobs."""
    return export_tiny(tiny_folder, tmp_path_factory.mktemp("following") / "export", levels=(1.0, 0.5))


@contextmanager
def served(serving: str, model: ModelSettings, registry: Registry) -> Iterator[str]:
    settings = EndpointSettings(
        models=(model,),
        batch=BatchSettings(max_rows=8, max_backlog_s=90.0),
        registry=RegistrySettings(uri=registry.uri, cache=registry.cache, poll_s=0.5),
    )
    with ray_application(settings, name="rolling", route_prefix="/rolling"):
        yield f"{serving}/rolling"


def test_moving_the_alias_rolls_the_endpoint_over(
    serving: str, champion: str, registry: Registry, mlflow_run: str, student_folder: Path, following: Path
) -> None:
    old, new = fingerprint(student_folder), fingerprint(following)
    model = ModelSettings(name="rolling", path=champion, num_cpus=0.1, num_replicas=2)
    with served(serving, model, registry) as address, Crowd(address) as crowd:
        crowd.wait_for_more(20)
        assert set(crowd.fingerprints) == {old}
        card = openai.OpenAI(base_url=f"{address}/v1", api_key="none").models.retrieve("rolling")
        assert card.fingerprint == old  # type: ignore[attr-defined]
        assert card.version == "models:/tiny/1"  # type: ignore[attr-defined]
        registry.register(following, name="tiny", run_id=lambda: mlflow_run, tags={}, alias="champion")
        crowd.wait_until(lambda: new in crowd.fingerprints)
        crowd.wait_until(lambda: set(crowd.fingerprints[-40:]) == {new})
        card = openai.OpenAI(base_url=f"{address}/v1", api_key="none").models.retrieve("default")
        assert (card.fingerprint, card.most_steps) == (new, 2)  # type: ignore[attr-defined]


def test_clients_do_not_notice_a_replica_that_is_killed(serving: str, student_folder: Path, registry: Registry) -> None:
    model = ModelSettings(name="mortal", path=str(student_folder), num_cpus=0.1)
    with served(serving, model, registry) as address, Crowd(address) as crowd:
        crowd.wait_for_more(10)
        (killed,) = replicas("mortal")
        ray.kill(ray.get_actor(killed, namespace="serve"))
        crowd.wait_for_more(20)
        assert killed not in replicas("mortal")


def replicas(model: str) -> set[str]:
    """Names of the processes that draw."""
    names = (actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True))
    return {name for name in names if f"#model-{model}#" in name}
