"""Runs a whole sweep: what its trials share, the trials under Ray Tune, the winner."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ray import tune

from ladd_ray.config import override
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import SWEEP_FILE, SweepRecord, read_record, read_trials, write_record
from ladd_ray.sweep_tracking import SweepTracker
from ladd_ray.training.cluster import cluster, require_state_api
from ladd_ray.training.launch import make_ready
from ladd_ray.training.preflight import Plan
from ladd_ray.training.sweeping.journal import Journal
from ladd_ray.training.sweeping.plan import SweepPlan, Trainee, claim, prepare_sweep
from ladd_ray.training.sweeping.search import concurrent_trials, param_space, trial_resources, tune_config
from ladd_ray.training.sweeping.trial import function_of_trials, run_trial
from ladd_ray.training.sweeping.watch import Listener, log_progress, watched
from ladd_ray.training.sweeping.winner import write_best

logger = logging.getLogger(__name__)

STATE = "tune"
"""Folder of Tune's own state, in that of the sweep."""
LOCK = "sweep.lock"
"""File that a process holds while it runs the sweep."""
ENVIRONMENT: Mapping[str, str] = {
    # Our journal says what is known, and once.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that collapses before its first score has none, and must not end the others.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Seconds between two saves of the state that a killed sweep goes on from.
    "TUNE_GLOBAL_CHECKPOINT_S": "2",
    # A report of our own shows the progress.
    "RAY_AIR_NEW_OUTPUT": "0",
    # An interrupted sweep is to end as a killed one: with trials that go on when it is started again.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def sweep(config: SweepConfig, space: Mapping[str, Any], *, listeners: Sequence[Listener] = ()) -> Path:
    """Run a sweep, or go on with it; returns its folder.

    Args:
        config: how to search.
        space: settings by dotted names, each with its values; see ``sweep_space``.
        listeners: hear of news besides the log, in a thread of their own.

    Raises:
        ValueError: something in the configuration or on the cluster is wrong, or another process runs the sweep; the
            message says what to do.
    """
    plan = prepare_sweep(config, space)
    logger.info("%s", plan.describe())
    _quiet_tune()
    standard = plan.standard.config
    with alone(plan.folder), cluster(standard):
        if standard.run.num_workers:
            require_state_api(timeout_s=standard.run.cluster_timeout_s)
        trainee = _begin(plan)
        with watched(plan.folder, [log_progress, *listeners], every_s=config.run.report_every_s):
            _run_trials(plan, trainee)
            _end(plan, trainee)
    return plan.folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside the block no other process runs the sweep of that folder, whose records would mix.

    Raises:
        ValueError: one does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"another process runs the sweep in {folder}: wait for its end or stop it, or choose another run.name"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _quiet_tune() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # It misses the files of the loggers that are off.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)


def _begin(plan: SweepPlan) -> Trainee:
    """Make what all trials share, and note what is asked."""
    settings = make_ready(_drawn_by_all(plan))
    document = plan.folder / SWEEP_FILE
    if not document.is_file():
        claim(plan, mlflow_run_id=_tracker(plan).begin(plan.record(), folder=plan.folder))
    else:
        claim(plan, mlflow_run_id=None)
    run_id = read_record(document, SweepRecord).mlflow_run_id
    return plan.trainee(settings, parent_run_id=run_id)


def _drawn_by_all(plan: SweepPlan) -> Plan:
    """The standard, with as many workers to draw latents and reference as there will be trials without workers."""
    run = plan.standard.config.run
    if run.num_workers:
        return plan.standard
    batch = run.global_batch_size // run.gradient_accumulation_steps
    count = max(number for number in range(1, concurrent_trials(plan) + 1) if batch % number == 0)
    changes = {"run.num_workers": count, "run.engine": "deepspeed"} if count > 1 else {}
    return replace(plan.standard, config=override(plan.standard.config, changes))


def _run_trials(plan: SweepPlan, trainee: Trainee) -> None:
    function = partial(run_trial, standard=trainee.standard.model_dump(mode="json"), num_blocks=trainee.num_blocks)
    trainable = tune.with_resources(function_of_trials(function), trial_resources(trainee.standard.run))
    state = str(plan.folder / STATE)
    if tune.Tuner.can_restore(state):
        logger.info("go on with %s: run.max_concurrent, seed and stopping stay as they were when it began", plan.folder)
        tuner = tune.Tuner.restore(state, trainable=trainable, param_space=param_space(plan))
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=param_space(plan),
            tune_config=tune_config(plan),
            run_config=tune.RunConfig(
                name=STATE,
                storage_path=str(plan.folder),
                callbacks=[Journal(plan.folder, plan.config, trainee)],
                verbose=0,
            ),
        )
    tuner.fit()


def _end(plan: SweepPlan, trainee: Trainee) -> None:
    best = write_best(plan.folder, trainee)
    document = plan.folder / SWEEP_FILE
    record = read_record(document, SweepRecord).model_copy(update={"ended": datetime.now(UTC)})
    write_record(document, record)
    if record.mlflow_run_id is not None:
        _tracker(plan).finish(record.mlflow_run_id, read_trials(plan.folder).trials, best=best)
    if best is None:
        logger.warning("no configuration was trained to the end with every seed: there is no best.json")


def _tracker(plan: SweepPlan) -> SweepTracker:
    config = plan.standard.config
    return SweepTracker(plan.tracking_uri, config.tracking.experiment, Path(config.run.directory))
