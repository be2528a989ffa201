"""Writes ``trials.json`` while Tune runs: every start, score and end of a trial, at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from typing_extensions import override

from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import TRIALS_FILE, ScoreRecord, TrialRecord, TrialsRecord, read_trials, write_record
from ladd_ray.tracking import RUN_ID_NAME
from ladd_ray.training.collapse import CollapsedRunError, require_no_collapse
from ladd_ray.training.milestones.scoring import SHEET
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.sweeping.plan import Trainee, base_changes
from ladd_ray.training.sweeping.trial import SEED, point_of, trial_name

ERROR = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt)\b.*", re.MULTILINE)
MOST = 300
"""Letters of a reason."""


class Journal(Callback):
    """What became of every trial, in the order of their starts. What ended stays as it is, whatever Tune says later."""

    def __init__(self, folder: Path, config: SweepConfig, trainee: Trainee) -> None:
        """The journal in a sweep's folder, which may have been begun before; ``trainee`` makes the trials' runs."""
        self._folder, self._config, self._trainee = folder, config, trainee
        self._trials: dict[str, TrialRecord] = {}

    @override
    def setup(self, *args: Any, **info: Any) -> None:
        """Tune begins, or begins again with a journal that was pickled before the first trial."""
        self._trials = {trial.id: trial for trial in read_trials(self._folder).trials}

    @override
    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or goes on after a kill."""
        known = {one.trial_id for one in trials}
        # Begun in the last moments before a kill: nobody goes on with them.
        self._trials = {id_: one for id_, one in self._trials.items() if one.status != "running" or id_ in known}
        self._known(trial)
        self._write()

    @override
    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A score; the newer of two at the same step counts."""
        record = self._known(trial)
        if record.status != "running":
            return
        score = ScoreRecord(**{name: result[name] for name in ScoreRecord.model_fields if name in result})
        scores = [*(one for one in record.scores if one.step < score.step), score]
        sheet = Path(record.folder) / SHEET
        self._change(
            record,
            scores=tuple(scores),
            sheet=str(sheet) if (self._folder / sheet).is_file() else None,
            mlflow_run_id=_run_id(self._folder / record.folder),
        )

    @override
    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended by itself, or was stopped."""
        record = self._known(trial)
        try:
            require_no_collapse(RunFolder(self._folder / record.folder))
        except CollapsedRunError as collapse:
            self._end(record, status="collapsed", reason=str(collapse).partition(". What was seen")[0])
            return
        if record.last and record.last.step == self._trainee.standard.run.steps:
            self._end(record, status="done")
        else:
            self._end(record, status="stopped", reason=self._behind(record))

    @override
    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed; the others go on."""
        self._end(self._known(trial), status="failed", reason=last_error(_trace(trial)))

    def _known(self, trial: Trial) -> TrialRecord:
        """The trial's record. It begins here where Tune says nothing of a start: its process never came up."""
        if trial.trial_id not in self._trials:
            self._trials[trial.trial_id] = self._begun(trial)
        return self._trials[trial.trial_id]

    def _begun(self, trial: Trial) -> TrialRecord:
        point, seed = point_of(trial.config), int(trial.config[SEED])
        folder = Path("trials") / trial_name(trial.trial_id)
        return TrialRecord(
            id=trial.trial_id,
            number=max((one.number + 1 for one in self._trials.values()), default=0),
            configuration=self._configuration(point),
            point=point,
            changes={**base_changes(self._config), **self._trainee.changes(point, seed=seed)},
            seed=seed,
            folder=str(folder),
            started=datetime.now(UTC),
        )

    def _configuration(self, point: Mapping[str, Any]) -> int:
        trials = self._trials.values()
        same = [one.configuration for one in trials if one.point == point]
        return same[0] if same else max((one.configuration + 1 for one in trials), default=0)

    def _behind(self, record: TrialRecord) -> str:
        if record.last is None:
            return "it ended before its first score"
        metric, factor = self._config.metric, self._config.stopping.reduction_factor
        value = getattr(record.last, metric)
        return f"{metric} {value:.4g} at step {record.last.step}: not among the best 1/{factor} that came so far"

    def _end(self, record: TrialRecord, **changes: Any) -> None:
        if record.status == "running":
            run_id = _run_id(self._folder / record.folder)
            self._change(record, ended=datetime.now(UTC), mlflow_run_id=run_id, **changes)
            # No ended trial resumes, and a sweep has many.
            shutil.rmtree(RunFolder(self._folder / record.folder).checkpoints, ignore_errors=True)

    def _change(self, record: TrialRecord, **changes: Any) -> None:
        self._trials[record.id] = record.model_copy(update=changes)
        self._write()

    def _write(self) -> None:
        write_record(self._folder / TRIALS_FILE, TrialsRecord(trials=tuple(self._trials.values())))


def last_error(trace: str) -> str:
    """The last line of a trace that names an error."""
    found = [match.group(0) for match in ERROR.finditer(trace)]
    return (found[-1] if found else trace.strip() or "it ended without a word")[:MOST]


def _trace(trial: Trial) -> str:
    """Everything that Tune knows of the error; its own way to ask looks where the file is not yet."""
    file = Path(trial.error_file or "")
    return file.read_text() if file.is_file() else ""


def _run_id(folder: Path) -> str | None:
    file = folder / RUN_ID_NAME
    return file.read_text() if file.is_file() else None
