"""The launch page over a cluster that refuses, does not answer, or is lost while somebody looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from ray.exceptions import AuthenticationError
from requests.exceptions import ConnectionError as RequestsConnectionError
from starlette.testclient import TestClient

from tests.tune.jobs import PretendedCluster, Status
from tests.tune.visitors import ORDER, RANGES, key_of, started

LOST = (RequestsConnectionError, AuthenticationError)
"""What Ray's client raises when the cluster is gone, or has another token."""


@pytest.mark.parametrize("problem", [RuntimeError, *LOST])
def test_cluster_that_refuses_is_quoted_and_the_name_stays_free(
    person: TestClient, pretended: PretendedCluster, runs: Path, problem: type[Exception]
) -> None:
    page = person.get("/")
    pretended.problem = problem("no <room>")
    answer = person.post("/", data={"form_key": key_of(page.text), **ORDER, **RANGES})
    assert answer.status_code == 502
    assert "no &lt;room&gt;" in answer.text
    assert not (runs / "mine").exists()


@pytest.mark.parametrize("problem", LOST)
def test_lost_cluster_leaves_the_list(
    person: TestClient, pretended: PretendedCluster, runs: Path, problem: type[Exception]
) -> None:
    started(person, runs)
    key = key_of(person.get("/sweeps/mine").text)
    pretended.problem = problem("Failed to connect")
    page = person.get("/")
    assert page.status_code == 200
    assert "The cluster does not answer: Failed to connect" in page.text
    assert ">mine<" in page.text
    assert person.get("/sweeps/mine").status_code == 200
    assert person.post("/sweeps/mine/stop", data={"form_key": key}).status_code == 303


def test_cluster_that_fails_without_a_word(person: TestClient, pretended: PretendedCluster) -> None:
    pretended.problem = RequestsConnectionError()
    assert "The cluster does not answer: ConnectionError" in person.get("/").text


@pytest.mark.parametrize("problem", LOST)
def test_cluster_that_is_lost_between_two_requests(
    person: TestClient,
    pretended: PretendedCluster,
    runs: Path,
    problem: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started(person, runs)
    key = key_of(person.get("/sweeps/mine").text)
    for name in ("get_job_logs", "stop_job"):
        monkeypatch.setattr(pretended, name, Mock(side_effect=problem("gone")))
    assert "There is no log: gone" in person.get("/sweeps/mine").text
    answer = person.post("/sweeps/mine/stop", data={"form_key": key})
    assert answer.status_code == 502
    assert "The cluster refuses: gone" in answer.text


def test_job_that_runs_is_shown_before_a_later_one_that_ended(
    person: TestClient, pretended: PretendedCluster, runs: Path
) -> None:
    started(person, runs)
    (first,) = pretended.jobs
    pretended.jobs.append(replace(first, submission_id="second", start_time=2000, status=Status.FAILED))
    assert ">Stop<" in person.get("/sweeps/mine").text
    first.status = Status.STOPPED
    assert ">failed<" in person.get("/sweeps/mine").text
