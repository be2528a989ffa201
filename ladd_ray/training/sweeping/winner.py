"""The best settings of a sweep, as a file that ``jobs/distill.py RECIPE --overrides`` takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from ladd_ray.sweep_records import BEST_FILE, BestRecord, SweepRecord, TrialRecord, read_sweep, write_record
from ladd_ray.tracking import flatten
from ladd_ray.training.overrides import IGNORED
from ladd_ray.training.sweeping.plan import Trainee


def find_best(sweep: SweepRecord, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials of the best configuration, one for each seed; none where no configuration was trained to the end.

    Only trials at the full budget count, and only configurations that have them for every seed: a mean over fewer
    seeds wins by luck.
    """
    by_configuration: dict[int, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if trial.status == "done":
            by_configuration[trial.configuration].append(trial)
    whole = [group for group in by_configuration.values() if len(group) == len(sweep.seeds)]
    sign = 1 if sweep.metric == "kid" else -1
    return min(whole, key=lambda group: sign * final_score(group, sweep), default=[])


def final_score(trials: Sequence[TrialRecord], sweep: SweepRecord) -> float:
    """Mean of the deciding score at the last step."""
    return mean(float(getattr(trial.last, sweep.metric)) for trial in trials)


def write_best(folder: Path, trainee: Trainee) -> BestRecord | None:
    """``best.json`` in the folder of a sweep, as far as it has a winner."""
    sweep, record = read_sweep(folder)
    winners = find_best(sweep, record.trials)
    if not winners:
        return None
    first = min(winners, key=lambda trial: sweep.seeds.index(trial.seed))
    config = trainee.config(first.point, seed=first.seed, name=sweep.name)
    best = BestRecord(
        recipe=sweep.recipe,
        changes=first.changes,
        validated={
            name: value
            for name, value in flatten(config.model_dump(mode="json")).items()
            if not any(name == one or name.startswith(f"{one}.") for one in IGNORED)
        },
        sweep=sweep.name,
        metric=sweep.metric,
        value=final_score(winners, sweep),
        trials=tuple(trial.number for trial in winners),
    )
    write_record(folder / BEST_FILE, best)
    return best
