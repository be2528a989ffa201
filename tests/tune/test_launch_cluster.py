"""The launch page on a cluster with a token, which `ray start --head` started: from the form to the report."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import BEST_FILE, BestRecord, read_record, read_sweep
from tests.ports import free_port
from tests.tune.sweeps import tiny_sweep
from tune.launching.access import is_guarded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS, SWEEP_SECONDS = 400.0, 900.0
SPACE = {
    "space": "search:noise", "seeds": "0", "metric": "kid", "recipe": "stickers",
    "use:noise.renoise_mean": "on", "low:noise.renoise_mean": "-1", "high:noise.renoise_mean": "1",
}  # fmt: skip


def wait_for(what: Callable[[], bool], *, seconds: float, title: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"{title}: not within {seconds:g} s"
        time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def token() -> str:
    return secrets.token_hex(32)


@pytest.fixture(scope="module")
def environment(token: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "LADD_RAY_HOME")}
    # Ray's workers would give way to everything else on the machine, and on a busy one never start.
    return {**others, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def address(environment: dict[str, str]) -> Iterator[str]:
    """The dashboard of a cluster of its own, beside which others may run."""
    # Sockets lie in it, whose paths must be short.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    dashboard = free_port()
    options = {
        "port": free_port(),
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
        "num-cpus": 2,
        "temp-dir": folder,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    head = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: answers(dashboard), seconds=START_SECONDS, title="dashboard")
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        end(head)
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def page(address: str, environment: dict[str, str], runs: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "tune/launch.py", "--address", address, "--port", str(port), "--runs", str(runs)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for(lambda: process.poll() is not None or answers(port), seconds=START_SECONDS, title="page")
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


@pytest.fixture
def person(page: str, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page, follow_redirects=True, timeout=120) as client:
        assert "The cluster's token" in client.get("/").text
        assert client.post("/login", data={"token": "wrong"}).status_code == 403
        assert "Start a sweep" in client.post("/login", data={"token": token}).text
        yield client


def press(person: httpx.Client, path: str, fields: dict[str, str]) -> str:
    found = re.search(r'name="form_key" value="([0-9a-f]+)"', person.get("/").text)
    assert found
    answer = person.post(path, data={"form_key": found[1], **fields})
    assert answer.status_code == 200, answer.text
    return answer.text


def order(config: SweepConfig, *, name: str, steps: int) -> dict[str, str]:
    base = {setting: value for setting, value in config.base.items() if setting != "run.steps"}
    lines = "\n".join(f"{setting} {value}" for setting, value in base.items())
    return {**SPACE, "name": name, "samples": "2", "steps": str(steps), "score_every": "2", "base": lines}


def state_of(person: httpx.Client, name: str) -> str:
    found = re.search(r'<span class="status (\w+)">', person.get(f"/sweeps/{name}").text)
    assert found
    return found[1]


def test_cluster_wants_its_token(address: str) -> None:
    assert is_guarded(address)


def test_sweep_from_the_form_to_the_report(person: httpx.Client, tiny_folder: Path, runs: Path) -> None:
    config = tiny_sweep(tiny_folder, runs)
    press(person, "/", order(config, name="ordered", steps=4))
    wait_for(lambda: state_of(person, "ordered") not in ("waiting", "running"), seconds=SWEEP_SECONDS, title="sweep")
    seen = person.get("/sweeps/ordered").text
    assert state_of(person, "ordered") == "finished", seen
    assert "2 of 2 trials have ended" in seen
    report = person.get("/sweeps/ordered/files/report.html")
    assert report.status_code == 200
    assert "The winner" in report.text
    assert person.get("/sweeps/ordered/files/plotly.min.js").status_code == 200
    sweep, trials = read_sweep(runs / "ordered")
    assert sweep.ended is not None
    assert len(trials.trials) == 2
    sheet = trials.trials[0].sheet
    assert sheet is not None
    assert person.get(f"/sweeps/ordered/files/{sheet}").headers["content-type"].startswith("image/")
    assert read_record(runs / "ordered" / BEST_FILE, BestRecord).recipe == "stickers"
    with httpx.Client(base_url=str(person.base_url)) as stranger:
        assert stranger.get("/sweeps/ordered/files/report.html").headers["location"] == "/login"


def test_sweep_is_stopped_in_the_browser(person: httpx.Client, tiny_folder: Path, runs: Path) -> None:
    config = tiny_sweep(tiny_folder, runs)
    press(person, "/", order(config, name="endless", steps=100_000))
    wait_for(lambda: state_of(person, "endless") == "running", seconds=START_SECONDS, title="start")
    press(person, "/sweeps/endless/stop", {})
    wait_for(lambda: state_of(person, "endless") == "stopped", seconds=START_SECONDS, title="stop")
    assert "Go on" in person.get("/sweeps/endless").text
