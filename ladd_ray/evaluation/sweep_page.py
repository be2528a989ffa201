"""What a sweep's report shows, as plain values for its template, which escapes every text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePath
from urllib.parse import quote

from ladd_ray.evaluation.protocol import HASH
from ladd_ray.evaluation.sweep_charts import Chart, budget_chart, importance_chart, point_text
from ladd_ray.evaluation.sweep_importance import importance
from ladd_ray.evaluation.sweep_parallel import parallel_chart
from ladd_ray.evaluation.sweep_study import (
    DIGITS,
    METRIC_LABELS,
    METRICS,
    configurations,
    leader,
    score_value,
    short_names,
    studied,
    value_text,
    varying,
)
from ladd_ray.evaluation.sweep_study_charts import heat_map, interval_chart, is_plane
from ladd_ray.sweep_records import BestRecord, SweepRecord, TrialRecord, TrialsRecord

REFRESH_SECONDS = 20


@dataclass(frozen=True)
class Cell:
    """A cell of the table of trials."""

    text: str
    value: str
    """What it is sorted by; empty where there is nothing."""


@dataclass(frozen=True)
class Best:
    """Who won, or leads."""

    title: str
    text: str
    numbers: tuple[int, ...]
    command: str = ""
    """Trains it."""


def page_content(
    sweep: SweepRecord, trials: TrialsRecord, *, best: BestRecord | None, best_file: str, now: datetime
) -> dict[str, object]:
    """The variables of the template.

    Args:
        sweep: What was asked.
        trials: What came out so far.
        best: The winner, once it is known.
        best_file: Where it is written, for the command that trains it.
        now: For how long it runs, where it has not ended.
    """
    names = varying(sweep)
    winner = _winner(sweep, trials, best=best, best_file=best_file)
    found = importance(sweep, trials)
    study, charts = list(_study_charts(sweep, trials)), list(_trial_charts(sweep, trials))
    if found.shares:
        charts.append(importance_chart(found, names=names))
    numbers = winner.numbers if winner else ()
    return {
        "sweep": sweep,
        "facts": _facts(sweep, trials, now=now),
        "base": ", ".join(f"{name} = {value_text(value)}" for name, value in sweep.base.items()),
        "best": winner,
        "heads": ["trial", "status", "seed", *short_names(names).values(), *METRICS, "step", "time"],
        "trials": [_row(sweep, trial, is_best=trial.number in numbers, now=now) for trial in trials.trials],
        "study_charts": study,
        "charts": charts,
        "all_charts": [asdict(chart) for chart in (*study, *charts)],
        "importance_problem": found.problem,
        "sheets": [_sheet(sweep, trial) for trial in trials.trials if trial.sheet],
        "refresh_seconds": REFRESH_SECONDS,
        "written": now,
    }


def clock_text(seconds: float) -> str:
    """As 1:05 for 65 seconds, or 1:01:05 with hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _facts(sweep: SweepRecord, trials: TrialsRecord, *, now: datetime) -> dict[str, str]:
    by_status = Counter(trial.status for trial in trials.trials)
    counts = ", ".join(f"{count} {status}" for status, count in by_status.items())
    kind = "grid" if sweep.grid else "search, stopped early by ASHA"
    seeds = f"seeds {', '.join(map(str, sweep.seeds))}" if len(sweep.seeds) > 1 else f"seed {sweep.seeds[0]}"
    return {
        "Recipe": sweep.recipe,
        "Space": f"{PurePath(sweep.space_name).name} ({kind})",
        "Trials": f"{len(trials.trials)} of {sweep.num_trials}" + (f": {counts}" if counts else ""),
        "Budget": f"{sweep.steps} steps, {seeds}",
        "Decided by": METRIC_LABELS[sweep.metric],
        "Elapsed": clock_text(_span(sweep.started, sweep.ended, now=now)),
        "Protocol of the scores": value_text(sweep.protocol.get(HASH)),
    }


def _winner(sweep: SweepRecord, trials: TrialsRecord, *, best: BestRecord | None, best_file: str) -> Best | None:
    if best is not None:
        command = shlex.join(["python", "jobs/distill.py", best.recipe, "--overrides", best_file])
        members = [trial for trial in trials.trials if trial.number in best.trials]
        title, value, numbers = "The winner", best.value, best.trials
        count = len({trial.seed for trial in members})
    else:
        one = leader(sweep, configurations(trials))
        if one is None or (interval := one.interval(sweep.metric, step=sweep.steps)) is None:
            return None
        members, command = list(one.trials), ""
        title, value, numbers = "In the lead", interval.mean, tuple(trial.number for trial in members)
        count = interval.count
    point = point_text(members[0].point, names=varying(sweep)) if members else ""
    score = f"{sweep.metric} {value:.{DIGITS[sweep.metric]}f} after {sweep.steps} steps"
    which = ", ".join(f"#{number}" for number in numbers)
    return Best(title, f"{which}: {point}. {score}, {_over(count)}.", numbers, command)


def _over(count: int) -> str:
    return "one seed" if count == 1 else f"mean over {count} seeds"


def _row(sweep: SweepRecord, trial: TrialRecord, *, is_best: bool, now: datetime) -> dict[str, object]:
    return {
        "number": trial.number,
        "status": trial.status,
        "reason": trial.reason,
        "folder": quote(trial.folder) + "/",
        "is_best": is_best,
        "cells": list(_cells(sweep, trial, now=now)),
    }


def _cells(sweep: SweepRecord, trial: TrialRecord, *, now: datetime) -> Iterator[Cell]:
    yield Cell(str(trial.seed), str(trial.seed))
    for name in varying(sweep):
        text = value_text(trial.point[name])
        yield Cell(text, text)
    for metric in METRICS:
        value = score_value(trial.last, metric) if trial.last else None
        yield Cell("", "") if value is None else Cell(f"{value:.{DIGITS[metric]}f}", str(value))
    step = str(trial.last.step) if trial.last else ""
    yield Cell(step, step)
    seconds = _span(trial.started, trial.ended, now=now)
    yield Cell(clock_text(seconds), str(seconds))


def _sheet(sweep: SweepRecord, trial: TrialRecord) -> dict[str, object]:
    assert trial.sheet is not None
    # The file is drawn anew at every score: with the step in its address, no browser shows an old one.
    step = trial.last.step if trial.last else 0
    return {
        "number": trial.number,
        "link": f"{quote(trial.sheet)}?step={step}",
        "text": f"{point_text(trial.point, names=varying(sweep))}, step {step}",
    }


def _study_charts(sweep: SweepRecord, trials: TrialsRecord) -> Iterator[Chart]:
    found = configurations(trials)
    if sweep.grid and varying(sweep):
        draw = heat_map if is_plane(sweep) else interval_chart
        yield from (draw(sweep, found, metric=metric) for metric in studied(sweep, found))


def _trial_charts(sweep: SweepRecord, trials: TrialsRecord) -> Iterator[Chart]:
    scores = [score for trial in trials.trials for score in trial.scores]
    if any(score_value(score, sweep.metric) is not None for score in scores):
        yield budget_chart(sweep, trials)
        yield parallel_chart(sweep, trials)


def _span(started: datetime, ended: datetime | None, *, now: datetime) -> float:
    return max(((ended or now) - started).total_seconds(), 0.0)
