"""The charts of a grid as plotly figures: the mean of every point over its seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from ladd_ray.evaluation.sweep_charts import SCALE, Chart, choices, safe, values_text
from ladd_ray.evaluation.sweep_study import DIGITS, METRIC_LABELS, Configuration, short_names, value_text, varying
from ladd_ray.sweep_records import MetricName, SweepRecord

STUDY_NOTE = "Mean over the seeds after {} steps, with its 95 % confidence interval by Student's t."


def heat_map(sweep: SweepRecord, found: Sequence[Configuration], *, metric: MetricName) -> Chart:
    """Means over the seeds, for a grid of two dimensions."""
    down, across = varying(sweep)
    labels = short_names((down, across))
    rows, columns = choices(sweep, down), choices(sweep, across)
    cells = [[find(found, {down: row, across: column}) for column in columns] for row in rows]
    intervals = [[cell and cell.interval(metric, step=sweep.steps) for cell in row] for row in cells]
    digits = DIGITS[metric]
    values = {
        "type": "heatmap",
        "x": [safe(value_text(value)) for value in columns],
        "y": [safe(value_text(value)) for value in rows],
        "z": [[one.mean if one else None for one in row] for row in intervals],
        "text": [[one.text(digits).replace(" +- ", "<br>± ") if one else "" for one in row] for row in intervals],
        "texttemplate": "%{text}",
        "hoverinfo": "none",
        "colorscale": SCALE,
        "reversescale": metric == "kid",
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        "xaxis": {"title": {"text": safe(labels[across])}, "type": "category"},
        "yaxis": {"title": {"text": safe(labels[down])}, "type": "category", "automargin": True},
        "height": 140 + 64 * len(rows),
    }
    return Chart(f"heat-{metric}", METRIC_LABELS[metric], STUDY_NOTE.format(sweep.steps), [values], layout)


def interval_chart(sweep: SweepRecord, found: Sequence[Configuration], *, metric: MetricName) -> Chart:
    """A mean with its interval for each configuration, over dots for the seeds; for grids of any other shape."""
    names, labels = varying(sweep), short_names(varying(sweep))
    rows = [(one, interval) for one in reversed(found) if (interval := one.interval(metric, step=sweep.steps))]
    texts = [safe(values_text(one.point, names=names)) for one, _ in rows]
    seeds = [(text, value) for text, (one, _) in zip(texts, rows, strict=True) for value in _seeds(one, sweep, metric)]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [value for _, value in seeds],
        "y": [text for text, _ in seeds],
        "marker": {"color": "#8b9099", "size": 6, "opacity": 0.7},
        "hoverinfo": "x",
    }
    means = {
        "type": "scatter",
        "mode": "markers",
        "x": [interval.mean for _, interval in rows],
        "y": texts,
        "error_x": {"type": "data", "array": [interval.half_width or 0 for _, interval in rows], "color": "#2f6db3"},
        "marker": {"color": "#2f6db3", "size": 10, "symbol": "diamond"},
        "hoverinfo": "x",
    }
    layout = {
        "yaxis": {"type": "category", "automargin": True},
        "showlegend": False,
        "height": 120 + 40 * len(rows),
    }
    note = f"{STUDY_NOTE.format(sweep.steps)} Rows: {' · '.join(labels.values())}."
    return Chart(f"points-{metric}", METRIC_LABELS[metric], note, [dots, means], layout)


def is_plane(sweep: SweepRecord) -> bool:
    """Whether the space is a table of two dimensions of numbers."""
    names = varying(sweep)
    return len(names) == 2 and all(_is_numbers(choices(sweep, name)) for name in names)


def find(found: Sequence[Configuration], point: Mapping[str, JsonValue]) -> Configuration | None:
    """The one with these values."""
    return next((one for one in found if all(one.point[name] == value for name, value in point.items())), None)


def _is_numbers(values: Sequence[JsonValue]) -> bool:
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _seeds(one: Configuration, sweep: SweepRecord, metric: MetricName) -> Iterator[float]:
    yield from one.values(metric, step=sweep.steps).values()
