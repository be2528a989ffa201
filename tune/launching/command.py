"""The job that runs an order: its command line, its code and its metadata."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ray.exceptions import RayError

from .order import Order

KIND, NAME, FOLDER = "ladd_ray", "sweep", "folder"
"""Keys of a job's metadata; the first says that it is one of ours."""
SPACE_FILE = "space.json"
NOT_SENT = (".git", ".venv", "runs", "tests", "docs", "benchmarks", "**/__pycache__")
"""Of the repository, to the cluster."""
CLUSTER_ERRORS = (RuntimeError, OSError, RayError)
"""What a ``JobClient`` raises: it refuses, is not there (errors of requests are OSErrors), or wants another token."""


class JobClient(Protocol):
    """What is used of ``ray.job_submission.JobSubmissionClient``."""

    def submit_job(
        self,
        *,
        entrypoint: str,
        submission_id: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str: ...

    def list_jobs(self) -> list[Any]: ...

    def get_job_logs(self, job_id: str) -> str: ...

    def stop_job(self, job_id: str) -> bool: ...


def submit(order: Order, client: JobClient, *, python: str, working_dir: Path) -> str:
    """Start an order; returns the id of its job.

    Raises:
        FileExistsError: another order was faster with the same name.
        CLUSTER_ERRORS: the cluster refuses it, or does not answer.
    """
    # Made here and now, so that of two equal orders only one begins.
    order.folder.mkdir(parents=True)
    space_file = None if order.is_built_in else order.folder / SPACE_FILE
    try:
        if space_file is not None:
            space_file.write_text(json.dumps(order.space, indent=2) + "\n")
        return send(
            client,
            command=shlex.join([python, "tune/sweep.py", *arguments(order, space_file=space_file)]),
            metadata=metadata(order),
            working_dir=working_dir,
        )
    except CLUSTER_ERRORS:
        shutil.rmtree(order.folder)
        raise


def send(client: JobClient, *, command: str, metadata: dict[str, str], working_dir: Path) -> str:
    """Give a command to the cluster, with this repository's code."""
    return client.submit_job(
        entrypoint=command,
        submission_id=f"sweep-{metadata[NAME]}-{secrets.token_hex(4)}",
        runtime_env={"working_dir": str(working_dir), "excludes": list(NOT_SENT)},
        metadata=metadata,
    )


def arguments(order: Order, *, space_file: Path | None) -> list[str]:
    """The command line of ``tune/sweep.py``."""
    config = order.config
    return [
        config.recipe,
        *("--space", str(space_file or config.space)),
        *(["--grid"] if config.grid else ["--samples", str(config.samples)]),
        *("--seeds", *map(str, config.seeds)),
        *("--metric", config.metric),
        *_optional("--score-every", config.score_every),
        *_optional("--run.max-concurrent", config.run.max_concurrent),
        *("--run.name", config.run.name),
        *("--run.directory", config.run.directory),
        *(["--base", *(part for item in config.base.items() for part in item)] if config.base else []),
    ]


def metadata(order: Order) -> dict[str, str]:
    """What the dashboard shows of the job."""
    config = order.config
    return {
        KIND: "sweep",
        NAME: config.run.name,
        FOLDER: str(order.folder),
        "recipe": config.recipe,
        "space": f"{'grid' if config.grid else 'search'} {config.space}{'' if order.is_built_in else ', changed'}",
    }


def _optional(flag: str, value: int | None) -> Iterator[str]:
    if value is not None:
        yield from (flag, str(value))
