"""The charts of a sweep's report as plotly figures, in plain dictionaries; colours of text and paper are the page's.

Plotly reads a little HTML in all texts, so every word that comes from a configuration goes through ``safe``.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from ladd_ray.evaluation.sweep_importance import Importance
from ladd_ray.evaluation.sweep_study import (
    METRIC_LABELS,
    score_value,
    short_names,
    value_text,
    varying,
)
from ladd_ray.sweep_records import ChoiceRecord, SweepRecord, TrialRecord, TrialsRecord, TrialStatus

STATUS_COLOURS: dict[TrialStatus, str] = {
    "running": "#d9822b",
    "done": "#2f6db3",
    "stopped": "#8b9099",
    "collapsed": "#b0413e",
    "failed": "#7a5ea8",
}
STATUS_MARKS: dict[TrialStatus, str] = {
    "running": "circle-open",
    "done": "circle",
    "stopped": "x",
    "collapsed": "triangle-down",
    "failed": "triangle-down",
}
SCALE = "Viridis"


@dataclass(frozen=True)
class Chart:
    """A plotly figure with what the page needs to place it."""

    id: str
    title: str
    note: str
    """What there is to see, in a sentence."""
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    min_width: int = 0
    """In pixels; a narrower screen scrolls."""


def budget_chart(sweep: SweepRecord, trials: TrialsRecord) -> Chart:
    """The score of every trial against its steps."""
    lines = [_budget_line(sweep, trial) for trial in trials.trials if trial.scores]
    rungs = [{"type": "line", "x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1} for step in sweep.rungs]
    dotted = {"color": "#8b9099", "width": 1, "dash": "dot"}
    note = "A line for each trial; its last mark says how it ended."
    return Chart(
        "budget",
        "Score against budget",
        note + (" Dotted: the rungs, where trials behind the others are stopped." if rungs else ""),
        lines,
        {
            "xaxis": {"title": {"text": "training steps"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": METRIC_LABELS[sweep.metric]}},
            "shapes": [{**rung, "line": dotted} for rung in rungs],
            "height": 420,
            "showlegend": False,
        },
    )


def importance_chart(found: Importance, *, names: Sequence[str]) -> Chart:
    """A bar for each setting, the longest on top."""
    labels = short_names(names)
    falling = list(reversed(found.shares.items()))
    note = (
        f"Share of the variance of the scores that goes with a setting (fANOVA), from {found.num_trials} trials at "
        f"step {found.step}."
    )
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [share for _, share in falling],
        "y": [safe(labels[name]) for name, _ in falling],
        "text": [f"{share:.0%}" for _, share in falling],
        "marker": {"color": "#2f6db3"},
        "hoverinfo": "none",
    }
    layout = {
        "xaxis": {"tickformat": ".0%", "rangemode": "tozero"},
        "yaxis": {"automargin": True, "type": "category"},
        "height": 120 + 34 * len(falling),
    }
    return Chart("importance", "Importance of each setting", note, [bars], layout)


def choices(sweep: SweepRecord, name: str) -> tuple[JsonValue, ...]:
    """The values of a dimension; none of a range."""
    dimension = sweep.space[name]
    return dimension.values if isinstance(dimension, ChoiceRecord) else ()


def point_text(point: Mapping[str, JsonValue], *, names: Sequence[str]) -> str:
    """A point for people: what varies, by short names."""
    labels = short_names(names)
    return " · ".join(f"{labels[name]} {value_text(point[name])}" for name in names)


def values_text(point: Mapping[str, JsonValue], *, names: Sequence[str]) -> str:
    """The values of a point alone, in the order of the names."""
    return " · ".join(value_text(point[name]) for name in names)


def safe(text: str) -> str:
    """A text without the HTML that plotly would read in it."""
    return html.escape(text, quote=False)


def _budget_line(sweep: SweepRecord, trial: TrialRecord) -> dict[str, Any]:
    points = [(score.step, value) for score in trial.scores if (value := score_value(score, sweep.metric)) is not None]
    colour, last = STATUS_COLOURS[trial.status], len(points) - 1
    text = safe(f"#{trial.number}, {trial.status}: {point_text(trial.point, names=varying(sweep))}, seed {trial.seed}")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"#{trial.number}",
        "x": [step for step, _ in points],
        "y": [value for _, value in points],
        "line": {"color": colour, "width": 1.5},
        "opacity": 0.55 if trial.status == "stopped" else 0.95,
        "marker": {
            "color": colour,
            "symbol": [STATUS_MARKS[trial.status] if place == last else "circle" for place in range(len(points))],
            "size": [10 if place == last else 4 for place in range(len(points))],
        },
        "hovertemplate": f"{text}<br>step %{{x}}: %{{y:.4f}}<extra></extra>",
    }
