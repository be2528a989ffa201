"""One trial: the function that Tune runs, a whole distillation with its scores reported."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from ray import tune
from ray.train import Checkpoint, UserCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.trainable import FunctionTrainable
from typing_extensions import override

from ladd_ray.config import Config
from ladd_ray.sweep_records import read_trials
from ladd_ray.training.collapse import CollapsedRunError
from ladd_ray.training.launch import Observers, train
from ladd_ray.training.milestones.scoring import scores_in
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.sweeping.plan import Trainee

SEED = "seed"
"""Among the parameters that Tune hands out; all others are dimensions of the space."""
PATIENCE_S = "300"
"""How long the next trial in the same process waits for a stopped one to leave."""


class LoudReset(FunctionTrainable):
    """A process whose last trial does not leave fails the next trial as any error does.

    Tune itself would end that one without a word to the search, which waits for it for ever, and to the journal.
    """

    @override
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Wait for the last trial.

        Raises:
            TimeoutError: it does not leave.
        """
        if not super().reset_config(new_config):  # type: ignore[no-untyped-call]
            raise TimeoutError(f"the trial before it in the same process did not leave in {PATIENCE_S} s")
        return True


class ScoresToTune(TuneReportCallback):
    """Hands milestones on to Tune. Reports of checkpoints have no score, which its scheduler would miss."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def after_report(
        self, run_context: TrainRunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Called for every report of the workers."""
        if checkpoint is None:
            super().after_report(run_context, metrics, None)


def function_of_trials(function: partial[None]) -> partial[None]:
    """The function as Tune is to make processes of it, with ``LoudReset``."""
    # Where Tune looks for further bases of the class that it makes of a function.
    function.__mixins__ = (LoudReset,)  # type: ignore[attr-defined]
    return function


def trial_name(trial_id: str) -> str:
    """Of the folder of a trial's run."""
    return f"trial-{trial_id}"


def point_of(parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Values of all dimensions; choices come as JSON texts, since searchers compare plain values only."""
    return {
        name: json.loads(value) if isinstance(value, str) else value
        for name, value in parameters.items()
        if name != SEED
    }


def run_trial(parameters: Mapping[str, Any], *, standard: Mapping[str, Any], num_blocks: int) -> None:
    """Distil at one point of the space, or go on with it; what had ended only tells its last score again.

    A collapse is a result: the journal finds its report in the folder of the run. Any other error goes up.

    Args:
        parameters: from Tune: a value for every dimension, and the seed.
        standard: dump of the configuration that all trials share.
        num_blocks: of the teacher's transformer.
    """
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", PATIENCE_S)
    trainee, trial_id = Trainee(Config.model_validate(standard), num_blocks), tune.get_context().get_trial_id()
    config = trainee.config(point_of(parameters), seed=int(parameters[SEED]), name=trial_name(trial_id))
    if _has_ended(config, trial_id):
        for scores in scores_in(RunFolder(config.run.path))[-1:]:
            tune.report(scores)
        return
    try:
        train(config, observers=Observers(here=_report, on_cluster=_callbacks))
    except CollapsedRunError:
        return


def _has_ended(config: Config, trial_id: str) -> bool:
    """Before a kill, which Tune may have forgotten."""
    trials = read_trials(Path(config.run.directory).parent).trials
    said = any(trial.id == trial_id and trial.status != "running" for trial in trials)
    return said or RunFolder(config.run.path).export.is_dir()


def _callbacks() -> tuple[UserCallback, ...]:
    return (ScoresToTune(),)


def _report(scores: Mapping[str, float]) -> None:
    tune.report(dict(scores))
