"""The door of the launch page: who is let in, and which forms are taken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.tune.jobs import PretendedCluster
from tests.tune.records import PLANE, sweep_record, write_sweep
from tests.tune.visitors import ORDER, RANGES, TOKEN, key_of, send, visitor
from tune import launch
from tune.launching.access import Gate, cluster_token


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


def test_open_cluster_is_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "is_guarded", lambda address: False)
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
