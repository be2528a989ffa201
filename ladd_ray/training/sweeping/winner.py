"""The best settings of a sweep, as a file that ``jobs/distill.py RECIPE --overrides`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from ladd_ray.evaluation.sweep_study import Configuration, configurations, rank
from ladd_ray.sweep_records import BEST_FILE, BestRecord, SweepRecord, TrialRecord, read_sweep, write_record
from ladd_ray.training.overrides import IGNORED
from ladd_ray.training.preflight import lasting_settings
from ladd_ray.training.sweeping.plan import Trainee


def find_best(sweep: SweepRecord, found: Sequence[Configuration]) -> Configuration | None:
    """The best configuration; None where none was trained to the end with every seed.

    A mean over fewer seeds wins by luck.
    """
    whole = [one for one in found if set(one.values(sweep.metric, step=sweep.steps)) == set(sweep.seeds)]
    return min(whole, key=lambda one: rank(final_score(one, sweep), sweep.metric), default=None)


def final_score(one: Configuration, sweep: SweepRecord) -> float:
    """Mean over the seeds of the deciding score at the full budget."""
    interval = one.interval(sweep.metric, step=sweep.steps)
    assert interval is not None
    return interval.mean


def write_best(folder: Path, trainee: Trainee) -> BestRecord | None:
    """``best.json`` in the folder of a sweep, as far as it has a winner."""
    sweep, record = read_sweep(folder)
    winner = find_best(sweep, configurations(record))
    if winner is None:
        return None
    trials = [trial for trial in winner.trials if trial.status == "done"]
    first = min(trials, key=lambda trial: sweep.seeds.index(trial.seed))
    best = BestRecord(
        recipe=sweep.recipe,
        changes=first.changes,
        validated=_validated(first, sweep, trainee),
        sweep=sweep.name,
        metric=sweep.metric,
        value=final_score(winner, sweep),
        trials=tuple(trial.number for trial in trials),
    )
    write_record(folder / BEST_FILE, best)
    return best


def _validated(trial: TrialRecord, sweep: SweepRecord, trainee: Trainee) -> dict[str, JsonValue]:
    settings = lasting_settings(trainee.config(trial.point, seed=trial.seed, name=sweep.name))
    return {
        name: value
        for name, value in settings.items()
        if not any(name == one or name.startswith(f"{one}.") for one in IGNORED)
    }
