"""A sweep in MLflow: one run, with the runs of its trials below it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ladd_ray.sweep_records import BestRecord, SweepRecord, TrialRecord, TrialStatus
from ladd_ray.tracking import MLFLOW_DEFAULTS, flatten, log_params, open_client, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

STATUSES: Mapping[TrialStatus, str] = MappingProxyType(
    {"running": "KILLED", "done": "FINISHED", "stopped": "KILLED", "collapsed": "FAILED", "failed": "FAILED"}
)
"""What MLflow calls the end of a trial."""


@dataclass(frozen=True)
class SweepTracker:
    """The run of a sweep. A sweep goes on when MLflow does not answer."""

    uri: str
    experiment: str
    folder: Path
    """Of all runs, for artifacts where there is no server."""

    def begin(self, record: SweepRecord, *, folder: Path) -> str | None:
        """Make the run of the sweep whose results lie in ``folder``; its id, or None where MLflow did not answer."""
        location = None if self.uri.startswith("http") else (self.folder / "mlflow-artifacts").as_uri()
        run_id: str | None = None
        with self._client() as client:
            experiment = open_experiment(client, self.experiment, artifact_location=location)
            tags = {"recipe": record.recipe, "run_directory": str(folder), "sweep": record.name}
            run_id = client.create_run(experiment, tags=tags, run_name=record.name).info.run_id
            asked = record.model_dump(mode="json", exclude={"started", "ended", "mlflow_run_id", "protocol"})
            log_params(client, str(run_id), values=flatten(asked))
        return run_id

    def finish(self, run_id: str, trials: Sequence[TrialRecord], *, best: BestRecord | None) -> None:
        """Say how every trial ended, which only the sweep knows, and close the run."""
        with self._client() as client:
            for trial in trials:
                if trial.mlflow_run_id is not None:
                    client.set_tag(trial.mlflow_run_id, "sweep.status", trial.status)
                    client.set_tag(trial.mlflow_run_id, "sweep.reason", trial.reason)
                    client.set_terminated(trial.mlflow_run_id, status=STATUSES[trial.status])
            if best is not None:
                client.log_metric(run_id, f"best/{best.metric}", best.value)
                client.set_tag(run_id, "sweep.best", ", ".join(map(str, best.trials)))
            client.set_terminated(run_id)

    @contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        from mlflow.exceptions import MlflowException

        for name, value in MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        try:
            yield open_client(self.uri)
        except (MlflowException, OSError) as error:
            logger.warning("MLflow at %s failed: %s. The sweep goes on.", self.uri, str(error).partition("\n")[0])
