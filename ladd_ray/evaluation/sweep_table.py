"""A sweep as a Markdown table: what it says of its points, ready for a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ladd_ray.evaluation.protocol import HASH
from ladd_ray.evaluation.sweep_charts import choices, point_text
from ladd_ray.evaluation.sweep_margins import margins
from ladd_ray.evaluation.sweep_study import (
    DIGITS,
    Configuration,
    Interval,
    advantage,
    best_of,
    configurations,
    leader,
    short_names,
    studied,
    value_text,
    varying,
)
from ladd_ray.evaluation.table import markdown_table
from ladd_ray.sweep_records import SweepRecord, TrialsRecord, read_sweep

NOTHING = "-"


def study_table(folder: Path) -> str:
    """A row for each point: means over the seeds after all steps with their 95 % intervals, and who is level with whom.

    Raises:
        FileNotFoundError: no sweep lies in ``folder``.
    """
    sweep, trials = read_sweep(folder)
    found = _in_order(configurations(trials), sweep=sweep)
    best, metrics = leader(sweep, found), studied(sweep, found)
    labels = short_names(varying(sweep))
    head = [*labels.values(), *metrics, "seeds", f"{sweep.metric} behind the best"]
    rows = [
        [
            *(value_text(one.point[name]) for name in labels),
            *(_text(one.interval(metric, step=sweep.steps), DIGITS[metric]) for metric in metrics),
            _seeds(one, sweep),
            _text(_behind(one, best, sweep=sweep), DIGITS[sweep.metric]),
        ]
        for one in found
    ]
    verdict = [_verdict(best, found, sweep=sweep)] if best else []
    parts = [*_notes(sweep, trials), markdown_table(head, rows), *verdict, *_each_setting(sweep, found)]
    return "\n\n".join(parts) + "\n"


def _in_order(found: Sequence[Configuration], *, sweep: SweepRecord) -> list[Configuration]:
    """A grid in the order of its values; a search as it went."""
    if not sweep.grid:
        return list(found)
    names = varying(sweep)
    return sorted(found, key=lambda one: tuple(choices(sweep, name).index(one.point[name]) for name in names))


def _each_setting(sweep: SweepRecord, found: Sequence[Configuration]) -> Iterator[str]:
    """What every setting of a whole grid does, whatever the others are."""
    by_setting, metrics, labels = margins(sweep, found), studied(sweep, found), short_names(varying(sweep))
    if not by_setting:
        return
    rows = []
    for among in by_setting:
        best = best_of(among, metric=sweep.metric, step=sweep.steps)
        for one in among:
            behind = advantage(best, one, metric=sweep.metric, step=sweep.steps) if best and one is not best else None
            means = (_text(one.interval(metric, step=sweep.steps), DIGITS[metric]) for metric in metrics)
            rows.append([labels[one.name], value_text(one.value), *means, _text(behind, DIGITS[sweep.metric])])
    yield "Each setting by itself: means over the rest of the grid, and their intervals over the seeds."
    yield markdown_table(["setting", "value", *metrics, f"{sweep.metric} behind its best"], rows)


def _notes(sweep: SweepRecord, trials: TrialsRecord) -> Iterator[str]:
    base = ", ".join(f"{name} = {value_text(value)}" for name, value in sweep.base.items())
    yield (
        f"Recipe {sweep.recipe}{f' with {base}' if base else ''}, space {sweep.space_name}, {sweep.steps} steps, seeds "
        f"{', '.join(map(str, sweep.seeds))}, protocol {value_text(sweep.protocol.get(HASH))}."
    )
    yield (
        "Means over the seeds +- half the 95 % confidence interval by Student's t. Behind the best: paired seed by "
        "seed, so an interval that holds 0 is a tie; of many points the best is best by luck, too."
    )
    lost = Counter(trial.status for trial in trials.trials if trial.status in ("collapsed", "failed"))
    if lost:
        counts = " and ".join(f"{count} {status}" for status, count in lost.items())
        yield f"Of {len(trials.trials)} trials, {counts}; their scores are missing from the means."


def _text(interval: Interval | None, digits: int) -> str:
    return interval.text(digits) if interval else NOTHING


def _seeds(one: Configuration, sweep: SweepRecord) -> str:
    whole, begun = len(one.values(sweep.metric, step=sweep.steps)), len({trial.seed for trial in one.trials})
    others = Counter(trial.status for trial in one.trials if trial.status != "done")
    return ", ".join([f"{whole} of {begun}", *(f"{count} {status}" for status, count in others.items())])


def _behind(one: Configuration, best: Configuration | None, *, sweep: SweepRecord) -> Interval | None:
    if best is None or one is best:
        return None
    return advantage(best, one, metric=sweep.metric, step=sweep.steps)


def _verdict(best: Configuration, found: Sequence[Configuration], *, sweep: SweepRecord) -> str:
    gaps = [gap for one in found if (gap := _behind(one, best, sweep=sweep)) and gap.half_width is not None]
    level = sum(not gap.excludes_zero for gap in gaps)
    text = f"Best by {sweep.metric}: {point_text(best.point, names=varying(sweep))}."
    return f"{text} Of {len(gaps)} others, {level} are level with it." if gaps else text
