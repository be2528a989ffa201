"""Our endpoint against the same student behind stock pipelines, on Ray Serve, in one run.

    python benchmarks/serving.py --model runs/stickers/export --output serving.json
    python benchmarks/serving.py --model runs/stickers/export --overload-seconds 120

Three applications live side by side in one cluster, each with as many replicas of one thread: ours, a stock pipeline
called once for each request, and one behind @serve.batch (see serving_stock.py). The same crowd of clients sends the
same requests to each in turns, so that a machine that slows down slows all; ratios are taken within a round. Then one
lone request, over HTTP to ours and to the stock pipeline, in turns with a call of the stock pipeline in this process.

With --overload-seconds it measures only what happens to ours at several times its capacity; see serving_overload.py.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "serve.proxy:proxy_middlewares"
# A proxy on a busy machine takes longer to start than Ray waits for it.
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
# Ray makes its workers yield to all other programs: here that would be the clients.
os.environ.setdefault("RAY_worker_niceness", "0")

import httpx
import psutil
import ray
import torch
from ray import serve as ray_serve

from benchmarks.report import describe_machine
from benchmarks.serving_clients import Crowd, crowd
from benchmarks.serving_overload import overload
from benchmarks.serving_requests import STEPS, Ask, ask, asks, tasks_of
from benchmarks.serving_stock import StockStudent, batched, single
from benchmarks.serving_summary import Loads, Lone, overload_table, summary, table
from serve.app import build
from serve.settings import BatchSettings, EndpointSettings, ModelSettings

HOST = "127.0.0.1"
OURS = ""
PREFIXES = {"ours": OURS, "single": "/single", "batched": "/batched"}
PROCESSES = {"replica": "model-student", "gateway": "gateway", "proxy": "ProxyActor"}
"""What the titles of our processes contain."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints tables, and writes everything as JSON."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    machine = describe_machine(torch.device("cpu"))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    results: dict[str, Any] = {"machine": machine, "settings": settings}
    with cluster(options.port) as address:
        if options.overload_seconds:
            _deploy("ours", ours(options, BatchSettings()))
            results["overload"] = found = overload(
                address,
                asks(tasks_of(options.model)),
                seconds=options.overload_seconds,
                factor=options.overload,
                memory=memory_of_ours,
            )
            print(overload_table(found))
        else:
            results |= _compare(options, address)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


def _compare(options: argparse.Namespace, address: str) -> dict[str, Any]:
    folder = str(options.model)
    # The others refuse nobody either, however slow the machine.
    _deploy("ours", ours(options, BatchSettings(max_backlog_s=600.0)))
    _deploy("single", single(folder, num_replicas=options.replicas))
    _deploy("batched", batched(folder, num_replicas=options.replicas, max_batch_size=options.stock_batch))
    stock = StockStudent(folder)
    loads = measure_load(address, options)
    found = summary(loads, measure_lone(address, stock, sides=options.lone_sides, times=options.lone_times))
    print(table(found))
    return found


def ours(options: argparse.Namespace, batch: BatchSettings) -> ray_serve.Application:
    """Our endpoint for the student."""
    model = ModelSettings(
        name="student", path=str(options.model), num_replicas=options.replicas, bit_equal=not options.rounded
    )
    return build(EndpointSettings(models=(model,), batch=batch, page=False))


def memory_of_ours() -> dict[str, int]:
    """Bytes that the processes of our endpoint hold."""
    held = dict.fromkeys(PROCESSES, 0)
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        title = " ".join(process.info["cmdline"] or ())
        for name, part in PROCESSES.items():
            if title.startswith("ray::") and part in title:
                held[name] += process.info["memory_info"].rss
    return held


def measure_load(address: str, options: argparse.Namespace) -> Loads:
    """What the crowd saw of each application in each round, after a round that does not count."""
    source = asks(tasks_of(options.model))
    loads: Loads = {name: [] for name in PREFIXES}
    for round_number in range(-1, options.rounds):
        batch = list(itertools.islice(source, options.requests))
        for name, seen in _in_turns(address, batch, clients=options.clients, reverse=bool(round_number % 2)):
            print(f"round {round_number}: {name} {seen.images_per_s:.1f} images/s", file=sys.stderr)
            if round_number >= 0:
                loads[name].append(seen)
    return loads


def _in_turns(address: str, batch: Sequence[Any], *, clients: int, reverse: bool) -> Iterator[tuple[str, Crowd]]:
    for name in sorted(PREFIXES, reverse=reverse):
        yield name, crowd(f"{address}{PREFIXES[name]}", batch, clients=clients)


def measure_lone(address: str, stock: StockStudent, *, sides: Sequence[int], times: int) -> Lone:
    """Seconds of one request, by kind: of ours and the stock pipeline over HTTP, and of the latter called here."""
    kinds = list(itertools.product(sides, STEPS))
    found: Lone = {_lone_kind(side, steps): [] for side, steps in kinds}
    prompts = (each.prompt for each in asks(("generate",), start=10**6))
    # Connections are kept, as OpenAI's clients keep theirs.
    with httpx.Client(base_url=address, timeout=300) as client:
        ways = {
            "ours": partial(_post, client, OURS),
            "single": partial(_post, client, PREFIXES["single"]),
            "stock": lambda request: stock.draw([request]),
        }
        for number, (side, steps) in itertools.product(range(-1, times), kinds):
            draw = partial(ask, "generate", width=side, height=side, steps=steps, seed=number + 1)
            # Each has a prompt of its own, so that none finds it encoded.
            requests = {name: draw(next(prompts)) for name in ways}
            timed = {name: _seconds(partial(way, requests[name])) for name, way in ways.items()}
            if number >= 0:
                found[_lone_kind(side, steps)].append(timed)
    return found


def _lone_kind(side: int, steps: int) -> str:
    return f"{side} px, {steps} step{'s' * (steps > 1)}"


def _post(client: httpx.Client, prefix: str, request: Ask) -> None:
    answer = client.post(f"{prefix}{request.path}", json=request.body())
    answer.raise_for_status()


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


@contextmanager
def cluster(port: int) -> Iterator[str]:
    """A cluster of this machine with Ray Serve on it, and its address."""
    # More CPUs than there are: replicas and ingresses of all three wait in it, and one at a time works.
    ray.init(num_cpus=16, include_dashboard=False, logging_level="warning", log_to_driver=False)
    try:
        ray_serve.start(http_options={"host": HOST, "port": port})
        yield f"http://{HOST}:{port}"
    finally:
        ray_serve.shutdown()
        ray.shutdown()


def _deploy(name: str, application: ray_serve.Application) -> None:
    ray_serve.run(application, name=name, route_prefix=PREFIXES[name] or "/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the folder of a student's export")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    parser.add_argument("--clients", type=int, default=32, help="at once")
    parser.add_argument("--requests", type=int, default=216, help="in each round, to each application")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--lone-times", type=int, default=20, help="for each kind of lone request")
    parser.add_argument("--lone-sides", type=int, nargs="+", default=(64, 256), help="of square pictures, in pixels")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--stock-batch", type=int, default=32, help="the most requests that @serve.batch collects")
    parser.add_argument("--rounded", action="store_true", help="ours without bit-equal rows")
    parser.add_argument("--overload-seconds", type=float, default=0.0, help="measure overload for so long instead")
    parser.add_argument("--overload", type=float, default=4.0, help="how many times the capacity is asked for")
    parser.add_argument("--port", type=int, default=8123)
    return parser


if __name__ == "__main__":
    main()
