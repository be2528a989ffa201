"""Where the numbers of a run go: always a local file, MLflow when it answers, a progress line."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from filelock import FileLock
from tqdm import tqdm

from ladd_ray.config import JobConfig

if TYPE_CHECKING:  # MLflow takes seconds to import: only rank 0 pays, and only once it connects.
    from mlflow import MlflowClient
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

HISTORY_NAME = "metrics.jsonl"
RUN_ID_NAME = "mlflow_run_id"
RETRY_AFTER_S = 60.0
MAX_METRICS_PER_CALL = 1000
MAX_PARAMS_PER_CALL = 100
PARENT_TAG = "mlflow.parentRunId"
"""By which MLflow shows runs below another one."""

MLFLOW_DEFAULTS: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Used where the environment says nothing. MLflow by itself waits for minutes, and the training with it."""


class LocalHistory:
    """The metrics of a run as JSON lines, one for each logged step: readable without any server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, metrics: Mapping[str, float], step: int) -> None:
        """Add one line and hand it to the operating system at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def read(self) -> list[dict[str, float]]:
        """All lines in order, except a last one that a killed process did not finish."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def truncate(self, step: int) -> None:
        """Drop what lies beyond ``step``, the step that a resumed run goes on from."""
        if not self.path.exists():
            return
        kept = [json.dumps(line) + "\n" for line in self.read() if line["step"] <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(self.path)


class NullTracker:
    """For ranks above 0, which track nothing."""

    run_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_artifacts(self, paths: Iterator[Path] | list[Path]) -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...


@dataclass(frozen=True)
class _OpenRun:
    client: MlflowClient
    run_id: str
    last_steps: Mapping[str, int]
    """Of each metric when the run was opened: a resumed run computes some steps again."""


class MlflowTracker:
    """Metrics to ``metrics.jsonl`` in the run's folder and to MLflow.

    Training goes on when MLflow does not answer, and what it missed is sent when it answers again.
    A resumed run continues its MLflow run and logs no step twice.
    """

    def __init__(self, config: JobConfig, *, step: int = 0, run_id: str | None = None) -> None:
        """Continue from ``step`` in ``run_id``; without one, in the run that the run's folder remembers."""
        self.history = LocalHistory(config.run.path / HISTORY_NAME)
        self.history.truncate(step)
        self.uri = mlflow_uri(config)
        self._config = config
        self._run_id_path = config.run.path / RUN_ID_NAME
        self._run_id = run_id or (self._run_id_path.read_text() if self._run_id_path.exists() else None)
        self._run: _OpenRun | None = None
        self._pending: list[Metric] = []
        self._retry_at = 0.0
        self._send()

    @property
    def run_id(self) -> str | None:
        """The MLflow run; ``None`` as long as MLflow has never answered."""
        return self._run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write one line to the local history, then send it."""
        from mlflow.entities import Metric

        self.history.append(metrics, step)
        now = int(time.time() * 1000)
        self._pending += [Metric(name, value, now, step) for name, value in metrics.items()]
        self._send()

    def log_artifacts(self, paths: Iterator[Path] | list[Path]) -> None:
        """Copy files to MLflow; when it does not answer they stay where they are."""
        self._send()
        with self._tolerate():
            if self._run:
                for path in paths:
                    self._run.client.log_artifact(self._run.run_id, str(path))

    def finish(self, *, failed: bool = False) -> None:
        """Send what is left and close the MLflow run."""
        self._retry_at = 0.0
        self._send()
        with self._tolerate():
            if self._run:
                self._run.client.set_terminated(self._run.run_id, status="FAILED" if failed else "FINISHED")

    def _send(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        with self._tolerate():
            self._run = run = self._run or self._connect()
            while batch := self._pending[:MAX_METRICS_PER_CALL]:
                new = [point for point in batch if point.step > run.last_steps.get(point.key, -1)]
                run.client.log_batch(run.run_id, metrics=new)
                del self._pending[: len(batch)]

    @contextmanager
    def _tolerate(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_AFTER_S
            logger.warning(
                "MLflow at %s failed: %s. Training goes on and the metrics are kept in %s. Next try "
                "in %.0f s; if this stays, check that the server runs and that tracking.uri is right.",
                self.uri, str(error).partition("\n")[0], self.history.path, RETRY_AFTER_S,
            )  # fmt: skip

    def _connect(self) -> _OpenRun:
        client = open_client(self.uri)
        if self._run_id is None or not _reopen(client, self._run_id):
            self._run_id = create_run(client, self._config)
            self._run_id_path.parent.mkdir(parents=True, exist_ok=True)
            self._run_id_path.write_text(self._run_id)
        return _OpenRun(client, self._run_id, last_steps=_last_steps(client, self._run_id))


def flatten(tree: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted names: ``{"student": {"lr": 1e-5}}`` becomes ``{"student.lr": 1e-5}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        is_section = isinstance(value, Mapping)
        flat |= flatten(value, prefix=f"{prefix}{name}.") if is_section else {f"{prefix}{name}": value}
    return flat


def mlflow_uri(config: JobConfig) -> str:
    """The tracking server of a run, or its database."""
    return config.tracking.uri or f"sqlite:///{config.run.path.parent / 'mlflow.db'}"


def open_client(uri: str) -> MlflowClient:
    """A client of a server or of a database, which is made if need be."""
    from mlflow import MlflowClient

    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not uri.startswith("sqlite:///"):
        return MlflowClient(uri)
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    # Two runs of a sweep that make the tables at the same time break each other.
    with FileLock(database.with_suffix(".lock")):
        return MlflowClient(uri)


def create_run(client: MlflowClient, config: JobConfig) -> str:
    """A new run with the settings of a job; its id."""
    # MLflow's default folder is relative to the working directory, which Ray's workers change.
    folder = (config.run.path.parent / "mlflow-artifacts").as_uri()
    location = None if mlflow_uri(config).startswith("http") else folder
    experiment_id = open_experiment(client, config.tracking.experiment, artifact_location=location)
    parent = config.tracking.parent_run_id
    tags = {"recipe": config.recipe, "run_directory": str(config.run.path)} | ({PARENT_TAG: parent} if parent else {})
    run_id: str = client.create_run(experiment_id, tags=tags, run_name=config.run.name).info.run_id
    log_params(client, run_id, values=flatten(config.model_dump(mode="json")))
    return run_id


def _reopen(client: MlflowClient, run_id: str) -> bool:
    """Whether the run exists; it is marked as running again."""
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _last_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    names = client.get_run(run_id).data.metrics
    return {name: max(point.step for point in client.get_metric_history(run_id, name)) for name in names}


def open_experiment(client: MlflowClient, name: str, *, artifact_location: str | None) -> str:
    """The id of an experiment, which is made if need be."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    try:
        return client.create_experiment(name, artifact_location=artifact_location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # Another run of the sweep was quicker.
    return open_experiment(client, name, artifact_location=artifact_location)


def log_params(client: MlflowClient, run_id: str, *, values: Mapping[str, Any]) -> None:
    """Settings of a run, however many."""
    from mlflow.entities import Param

    params = [Param(name, str(value)) for name, value in values.items()]
    for start in range(0, len(params), MAX_PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS_PER_CALL])


class Progress:
    """A bar with losses, speed and time left; in a log file a plain line now and then."""

    SHOWN: Mapping[str, str] = {
        "student/loss": "student",
        "flow/loss": "loss",
        "discriminator/loss": "discriminator",
        "throughput/images_per_second": "images/s",
        "data/stall_seconds": "s/step waiting for data",
    }
    """Metrics shown, and what they are called."""

    def __init__(
        self, num_steps: int, *, name: str, step: int = 0, stream: TextIO | None = None, interval_s: float = 10.0
    ) -> None:
        """Start at ``step`` of ``num_steps`` of a run; write to ``stream`` (default: standard error)."""
        self._stream = stream or sys.stderr
        self._interval_s = 0.1 if self._stream.isatty() else interval_s
        self._bar = tqdm(desc=name, total=num_steps, initial=step, file=self._stream, disable=not self._stream.isatty())
        self._name, self._num_steps, self._first_step, self._start = name, num_steps, step, time.monotonic()
        self._next_line_at, self._values = 0.0, ""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show ``step`` as done."""
        values = [f"{name} {metrics[key]:.4g}" for key, name in self.SHOWN.items() if key in metrics]
        self._values = "  ".join(values) or self._values
        self._bar.set_postfix_str(self._values, refresh=False)
        self._bar.update(step - self._bar.n)
        if self._bar.disable and (time.monotonic() >= self._next_line_at or step == self._num_steps):
            self._next_line_at = time.monotonic() + self._interval_s
            line = f"step {step}/{self._num_steps}  {self._values}  {self._time_left(step)} left"
            self._stream.write(f"{self._name}: {line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.close()

    def _time_left(self, step: int) -> str:
        elapsed = time.monotonic() - self._start
        return tqdm.format_interval(elapsed / max(step - self._first_step, 1) * (self._num_steps - step))
