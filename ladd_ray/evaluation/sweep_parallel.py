"""Parallel coordinates of a sweep's trials as a plotly figure.

Drawn with plain lines: plotly's own kind needs WebGL, and code that is made while it runs, which the page's policy
forbids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from ladd_ray.evaluation.sweep_charts import Chart, point_text, safe
from ladd_ray.evaluation.sweep_study import DIGITS, rank, score_value, short_names, value_text, varying
from ladd_ray.sweep_records import ChoiceRecord, DimensionRecord, SweepRecord, TrialRecord, TrialsRecord

WORST, BEST = (150, 155, 163), (217, 98, 43)
"""Red, green, blue; both can be seen on light and on dark paper."""
NUM_TICKS = 5
AXIS_WIDTH = 115
"""Pixels."""


@dataclass(frozen=True)
class Axis:
    """A line from 0 to 1 with every trial's place on it."""

    label: str
    places: list[float]
    ticks: list[tuple[float, str]]


def parallel_chart(sweep: SweepRecord, trials: TrialsRecord) -> Chart:
    """Every trial as a line through its values and its latest score."""
    scored = [(trial, value) for trial in trials.trials if (value := _latest(trial, sweep)) is not None]
    # The best are drawn last, over the others.
    scored.sort(key=lambda pair: -rank(pair[1], sweep.metric))
    axes = _axes(sweep, scored)
    goodness = axes[-1].places if sweep.metric == "judge" else [1 - place for place in axes[-1].places]
    lines = [
        _line(sweep, trial, places=[axis.places[number] for axis in axes], share=goodness[number])
        for number, (trial, _) in enumerate(scored)
    ]
    layout = {
        "xaxis": {"visible": False, "range": [-0.15, len(axes) - 0.6]},
        "yaxis": {"visible": False, "range": [-0.06, 1.2]},
        "annotations": [note for place, axis in enumerate(axes) for note in _notes(place, axis)],
        "shapes": [_stroke(place) for place in range(len(axes))],
        "showlegend": False,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "height": 420,
    }
    note = "A line for each trial, the more orange, the better its latest score."
    return Chart("parallel", "Parallel coordinates", note, lines, layout, min_width=AXIS_WIDTH * len(axes))


def _axes(sweep: SweepRecord, scored: Sequence[tuple[TrialRecord, float]]) -> list[Axis]:
    labels = short_names(varying(sweep))
    axes = [
        _axis(label, sweep.space[name], [trial.point[name] for trial, _ in scored]) for name, label in labels.items()
    ]
    steps = [trial.scores[-1].step for trial, _ in scored]
    if len(set(steps)) > 1:
        axes.append(_measured("steps", [float(step) for step in steps], digits=0))
    return [*axes, _measured(sweep.metric, [value for _, value in scored], digits=DIGITS[sweep.metric])]


def _axis(label: str, dimension: DimensionRecord, values: Sequence[JsonValue]) -> Axis:
    if isinstance(dimension, ChoiceRecord):
        last = max(len(dimension.values) - 1, 1)
        places = [dimension.values.index(value) / last for value in values]
        return Axis(label, places, [(place / last, value_text(value)) for place, value in enumerate(dimension.values)])
    is_log = dimension.kind == "log_uniform"
    low, high = (math.log(bound) if is_log else bound for bound in (dimension.low, dimension.high))
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    places = [((math.log(number) if is_log else number) - low) / (high - low) for number in numbers]
    shares = [number / (NUM_TICKS - 1) for number in range(NUM_TICKS)]
    marks = [low + share * (high - low) for share in shares]
    texts = [f"{math.exp(mark) if is_log else mark:.2g}" for mark in marks]
    return Axis(label, places, list(zip(shares, texts, strict=True)))


def _measured(label: str, values: Sequence[float], *, digits: int) -> Axis:
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    ticks = [(0.0, f"{low:.{digits}f}"), (1.0, f"{high:.{digits}f}")] if high > low else [(0.0, f"{low:.{digits}f}")]
    return Axis(label, [(value - low) / width for value in values], ticks)


def _line(sweep: SweepRecord, trial: TrialRecord, *, places: list[float], share: float) -> dict[str, Any]:
    red, green, blue = (round(worst + share * (best - worst)) for worst, best in zip(WORST, BEST, strict=True))
    text = safe(f"#{trial.number}: {point_text(trial.point, names=varying(sweep))}")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(len(places))),
        "y": places,
        "line": {"color": f"rgb({red},{green},{blue})", "width": 1 + 1.5 * share},
        "marker": {"size": 4},
        "opacity": 0.45 + 0.5 * share,
        "hovertemplate": f"{text}<extra></extra>",
    }


def _notes(place: int, axis: Axis) -> list[dict[str, Any]]:
    plain = {"x": place, "showarrow": False}
    ticks = [
        {**plain, "y": share, "text": safe(text), "xanchor": "left", "xshift": 5, "font": {"size": 11}}
        for share, text in axis.ticks
    ]
    label = {**plain, "y": 1.07, "text": safe(axis.label), "xanchor": "left", "yanchor": "bottom", "textangle": -12}
    return [label, *ticks]


def _stroke(place: int) -> dict[str, Any]:
    line = {"color": "#8b9099", "width": 1}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "layer": "below", "line": line}


def _latest(trial: TrialRecord, sweep: SweepRecord) -> float | None:
    return score_value(trial.last, sweep.metric) if trial.last else None
