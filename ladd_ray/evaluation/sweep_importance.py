"""Which settings of a sweep matter: shares of the scores' variance (fANOVA, Hutter et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial
from pydantic import JsonValue

from ladd_ray.evaluation.sweep_study import rank, score_at, varying
from ladd_ray.sweep_records import ChoiceRecord, DimensionRecord, SweepRecord, TrialRecord, TrialsRecord

FEWEST_TRIALS = 8
"""Below so many, a forest explains noise."""


@dataclass(frozen=True)
class Importance:
    """How much of the variance of the scores goes with each setting, or why that cannot be told."""

    shares: dict[str, float]
    """By dotted names, falling, with the sum 1."""
    step: int
    """After so many steps; scores of other budgets do not compare."""
    num_trials: int
    problem: str = ""
    """Why there are no shares."""


def importance(sweep: SweepRecord, trials: TrialsRecord) -> Importance:
    """From the scores at the largest budget that enough trials reached."""
    names = varying(sweep)
    step, scored = _largest_budget(sweep, trials)
    if len(names) < 2:
        return Importance({}, step, len(scored), "There is nothing to compare: fewer than two settings vary.")
    if len(scored) < FEWEST_TRIALS:
        text = f"It takes {FEWEST_TRIALS} trials that were scored at the same step; {len(scored)} are there so far."
        return Importance({}, step, len(scored), text)
    values = {_objective(sweep, trial, step=step) for trial in scored}
    if len(values) < 2:
        return Importance({}, step, len(scored), "All scores are equal.")
    return Importance(_shares(sweep, scored, step=step), step, len(scored))


def _largest_budget(sweep: SweepRecord, trials: TrialsRecord) -> tuple[int, list[TrialRecord]]:
    budgets = sorted({*sweep.scored_at, sweep.steps}, reverse=True)
    for step in budgets:
        scored = [trial for trial in trials.trials if score_at(trial, sweep.metric, step=step) is not None]
        if len(scored) >= max(FEWEST_TRIALS, len(trials.trials) // 2):
            return step, scored
    return step, scored


def _shares(sweep: SweepRecord, scored: list[TrialRecord], *, step: int) -> dict[str, float]:
    with _quiet():
        study = optuna.create_study(direction="minimize")
        study.add_trials([_frozen(sweep, trial, step=step) for trial in scored])
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces every study that it makes, which would fill the log at every refresh of a report."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _frozen(sweep: SweepRecord, trial: TrialRecord, *, step: int) -> FrozenTrial:
    names = varying(sweep)
    return create_trial(
        params={name: _parameter(sweep.space[name], trial.point[name]) for name in names},
        distributions={name: _distribution(sweep.space[name]) for name in names},
        value=_objective(sweep, trial, step=step),
    )


def _objective(sweep: SweepRecord, trial: TrialRecord, *, step: int) -> float:
    value = score_at(trial, sweep.metric, step=step)
    assert value is not None
    return rank(value, sweep.metric)


def _distribution(dimension: DimensionRecord) -> BaseDistribution:
    if isinstance(dimension, ChoiceRecord):
        return CategoricalDistribution(range(len(dimension.values)))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log_uniform")


def _parameter(dimension: DimensionRecord, value: JsonValue) -> JsonValue:
    # Lists cannot be categories, but their places can.
    return dimension.values.index(value) if isinstance(dimension, ChoiceRecord) else value
