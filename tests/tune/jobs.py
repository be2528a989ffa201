"""A cluster that only pretends: the part of Ray's job API that the launch page uses, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Status(Enum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass
class Job:
    entrypoint: str
    submission_id: str | None
    metadata: dict[str, str] | None
    start_time: int
    status: Status = Status.RUNNING
    message: str = ""
    runtime_env: dict[str, Any] = field(default_factory=dict)


class PretendedCluster:
    """Its ``problem`` is raised by every request; Ray lets errors of requests through."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.problem: Exception | None = None
        self.log = ""

    def submit_job(
        self,
        *,
        entrypoint: str,
        submission_id: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str:
        self._may_fail()
        job = Job(entrypoint, submission_id, metadata, 1000 + len(self.jobs), runtime_env=runtime_env or {})
        self.jobs.append(job)
        return submission_id or ""

    def list_jobs(self) -> list[Job]:
        self._may_fail()
        return list(reversed(self.jobs))

    def get_job_logs(self, job_id: str) -> str:
        self._may_fail()
        return self.log

    def stop_job(self, job_id: str) -> bool:
        self._may_fail()
        for job in self.jobs:
            if job.submission_id == job_id:
                job.status = Status.STOPPED
        return True

    def _may_fail(self) -> None:
        if self.problem is not None:
            raise self.problem
