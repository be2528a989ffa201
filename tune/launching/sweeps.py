"""The sweeps of a folder of runs, each with its job on the cluster."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ladd_ray.sweep_records import SWEEP_FILE, SweepRecord, TrialRecord, read_sweep

from .command import CLUSTER_ERRORS, FOLDER, KIND, JobClient

REPORT_FILE = "report.html"
LOG_LINES = 300
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
State = Literal["waiting", "running", "finished", "stopped", "failed"]
STATES: dict[str, State] = {
    "PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "finished", "STOPPED": "stopped", "FAILED": "failed",
}  # fmt: skip
ACTIVE: tuple[State, ...] = ("waiting", "running")
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SweepView:
    """A sweep as the page shows it."""

    name: str
    folder: Path
    job: Any = None
    """The one that runs, or the latest, as Ray's job API describes it; None where the cluster knows none."""
    record: SweepRecord | None = None
    """None before its job has written it, or where this machine cannot read the folder."""
    trials: tuple[TrialRecord, ...] = ()

    @property
    def state(self) -> State:
        """Of its job; without one, what its record says."""
        if self.job is not None:
            return STATES[str(self.job.status.value)]
        return "finished" if self.record and self.record.ended else "stopped"

    @property
    def is_active(self) -> bool:
        """Whether there is something to stop."""
        return self.state in ACTIVE

    @property
    def has_report(self) -> bool:
        """Whether the report can be opened."""
        return (self.folder / REPORT_FILE).is_file()

    @property
    def num_ended(self) -> int:
        """Trials that go on no more."""
        return sum(trial.status != "running" for trial in self.trials)

    @property
    def counts(self) -> str:
        """How many trials are in which state."""
        found = Counter(trial.status for trial in self.trials)
        return ", ".join(f"{count} {status}" for status, count in found.items())

    @property
    def started(self) -> datetime:
        """For the order of the list."""
        if self.job is not None and self.job.start_time:
            return datetime.fromtimestamp(self.job.start_time / 1000, tz=UTC)
        return self.record.started if self.record else NEVER


def list_sweeps(directory: Path, client: JobClient) -> tuple[list[SweepView], str]:
    """All sweeps, the latest first, and why the cluster's jobs are missing, if they are."""
    problem = ""
    jobs: dict[str, Any] = {}
    try:
        jobs = _latest_jobs(client, directory)
    except CLUSTER_ERRORS as error:
        first, *_ = str(error).splitlines() or [type(error).__name__]
        problem = f"The cluster does not answer: {first}"
    names = {path.parent.name for path in directory.glob(f"*/{SWEEP_FILE}")} | jobs.keys()
    views = [_view(directory / name, jobs.get(name)) for name in names]
    return sorted(views, key=lambda view: view.started, reverse=True), problem


def find_sweep(name: str, directory: Path, client: JobClient) -> SweepView | None:
    """One of them; None where there is none of that name."""
    views, _ = list_sweeps(directory, client)
    return next((view for view in views if view.name == name), None)


def log_tail(view: SweepView, client: JobClient) -> str:
    """The last lines of the job's log."""
    if view.job is None:
        return ""
    try:
        lines = client.get_job_logs(view.job.submission_id).split("\n")
    except CLUSTER_ERRORS as error:
        return f"There is no log: {error}"
    # Of a progress bar only its latest state; colours of terminals mean nothing here.
    return "\n".join(COLOUR.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines[-LOG_LINES:])


def _latest_jobs(client: JobClient, directory: Path) -> dict[str, Any]:
    """By the name of the sweep, of those whose results lie here; one that runs counts more than a later one that ended.

    A second job of a sweep ends at once, since the first holds its folder.
    """
    ours = [job for job in client.list_jobs() if (job.metadata or {}).get(KIND) == "sweep" and job.submission_id]
    ranked = sorted(ours, key=lambda job: (STATES[str(job.status.value)] in ACTIVE, job.start_time or 0))
    folders = [(Path(job.metadata.get(FOLDER, "")), job) for job in ranked]
    # Resolved, since ".." has a parent, too.
    return {folder.name: job for folder, job in folders if folder.resolve().parent == directory}


def _view(folder: Path, job: Any) -> SweepView:
    try:
        record, trials = read_sweep(folder)
    except (FileNotFoundError, ValueError):
        return SweepView(folder.name, folder, job)
    return SweepView(folder.name, folder, job, record, trials.trials)
