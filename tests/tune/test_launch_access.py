"""The door of the launch page: who is let in, and which forms are taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ray.exceptions import AuthenticationError
from requests.exceptions import ConnectionError as RequestsConnectionError
from starlette.testclient import TestClient

from tests.tune.jobs import PretendedCluster
from tests.tune.records import PLANE, sweep_record, write_sweep
from tests.tune.visitors import ORDER, RANGES, TOKEN, key_of, send, visitor
from tune import launch
from tune.launching.access import Gate, cluster_token, is_guarded


@pytest.mark.parametrize("path", ["/", "/sweeps/mine", "/sweeps/mine/files/report.html", "/sweeps/mine/files/"])
def test_without_the_token_there_is_only_the_door(pretended: PretendedCluster, runs: Path, path: str) -> None:
    write_sweep(runs / "mine", sweep_record(PLANE, grid=True), [])
    stranger = visitor(pretended, runs, token=TOKEN)
    for answer in (stranger.get(path), stranger.post(path, data=ORDER)):
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "set-cookie" not in answer.headers


def test_token_opens_the_door(pretended: PretendedCluster, runs: Path) -> None:
    person = visitor(pretended, runs, token=TOKEN)
    assert person.post("/login", data={"token": TOKEN[:-1]}).status_code == 403
    assert person.get("/").status_code == 303
    answer = person.post("/login", data={"token": f" {TOKEN}\n"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert send(person, {**ORDER, **RANGES}).status_code == 303
    assert len(pretended.jobs) == 1


def test_who_leaves_is_a_stranger_again(pretended: PretendedCluster, runs: Path) -> None:
    person = visitor(pretended, runs, token=TOKEN)
    person.post("/login", data={"token": TOKEN})
    home = person.get("/").text
    assert 'action="/logout"' in home
    assert person.post("/logout", data={"form_key": "0" * 64}).status_code == 403
    assert person.get("/").status_code == 200
    session = person.cookies["ladd_ray_sweeps"]
    assert person.post("/logout", data={"form_key": key_of(home)}).headers["location"] == "/login"
    assert "ladd_ray_sweeps" not in person.cookies
    # A copy of the cookie opens nothing, either.
    person.cookies.set("ladd_ray_sweeps", session)
    assert person.get("/").headers["location"] == "/login"


def test_nobody_leaves_an_open_page(person: TestClient) -> None:
    assert "/logout" not in person.get("/").text


def test_forged_and_old_sessions_are_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, other = Gate(TOKEN), Gate(TOKEN)
    session = gate.new_session()
    assert gate.knows(session)
    facts, _, seal = session.rpartition(".")
    for forged in (None, "", "x", f"{facts}.", f"{facts}9.{seal}", other.new_session(), "é.1.é"):
        assert not gate.knows(forged)
    later = time.time() + 13 * 3600
    monkeypatch.setattr("tune.launching.access.time.time", lambda: later)
    assert not gate.knows(session)


@pytest.mark.parametrize("key", ["", "0" * 64, None])
def test_forms_of_other_sites_are_refused(
    person: TestClient, pretended: PretendedCluster, runs: Path, key: str | None
) -> None:
    stranger_key = key_of(visitor(pretended, runs).get("/").text)
    person.get("/")
    answer = person.post("/", data={**ORDER, **RANGES, "form_key": stranger_key if key is None else key})
    assert answer.status_code == 403
    assert not pretended.jobs


def test_open_page_answers_to_names_of_this_machine_only(person: TestClient) -> None:
    assert person.get("/", headers={"host": "127.0.0.1:8266"}).status_code == 200
    assert person.get("/", headers={"host": "evil.example"}).status_code == 400


def test_huge_form_is_refused(person: TestClient) -> None:
    assert send(person, {"base": "x" * 100_000}).status_code == 413


def test_pages_are_not_framed_cached_or_scripted(person: TestClient) -> None:
    headers = person.get("/").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


@pytest.fixture
def dashboard() -> Iterator[tuple[str, list[tuple[int, dict[str, str]]]]]:
    """The address of something that answers with the status and the headers that were put in last."""
    answers: list[tuple[int, dict[str, str]]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers = answers[-1] if self.path == "/api/jobs/" else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *told: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()


@pytest.mark.parametrize(("status", "guarded"), [(200, False), (401, True), (403, True)])
def test_cluster_says_whether_it_wants_a_token(dashboard: Any, status: int, guarded: bool) -> None:
    address, answers = dashboard
    answers.append((status, {}))
    assert is_guarded(address) is guarded


@pytest.mark.parametrize(
    ("status", "headers"), [(302, {"Location": "/login"}), (308, {"Location": "/"}), (404, {}), (500, {}), (502, {})]
)
def test_any_other_answer_does_not_open_the_page(dashboard: Any, status: int, headers: dict[str, str]) -> None:
    address, answers = dashboard
    answers.append((status, headers))
    with pytest.raises(ValueError, match=f"answers {status} .* give --address the cluster's dashboard itself"):
        is_guarded(address)


def test_expected_token_that_nobody_asks_for_does_not_open_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "is_guarded", lambda address: False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with pytest.raises(ValueError, match="asks for none"):
        launch.make_gate(launch.Arguments())
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert launch.make_gate(launch.Arguments()).is_open


@pytest.mark.parametrize("problem", [RuntimeError, RequestsConnectionError, AuthenticationError])
def test_cluster_that_refuses_the_token_is_no_workplace(
    monkeypatch: pytest.MonkeyPatch, problem: type[Exception]
) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Mock(side_effect=problem("another token")))
    with pytest.raises(ValueError, match="refuses: another token"):
        launch.make_workplace(launch.Arguments())


def test_open_cluster_is_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "is_guarded", lambda address: False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ValueError, match="RAY_AUTH_MODE=token"):
        launch.make_gate(launch.Arguments(host="0.0.0.0"))
    assert launch.make_gate(launch.Arguments()).is_open


def test_guarded_cluster_wants_its_token_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launch, "is_guarded", lambda address: True)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ValueError, match="RAY_AUTH_TOKEN"):
        launch.make_gate(launch.Arguments(host="0.0.0.0"))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert cluster_token() == TOKEN
    gate = launch.make_gate(launch.Arguments(host="0.0.0.0"))
    assert gate.admits(TOKEN)
    assert not gate.admits("")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert cluster_token() == "other"
