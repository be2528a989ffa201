"""The means of a sweep's points as one picture for a document: maps of a plane, else dots with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ladd_ray.evaluation.sweep_charts import choices, values_text
from ladd_ray.evaluation.sweep_study import (
    DIGITS,
    METRIC_LABELS,
    Configuration,
    configurations,
    short_names,
    studied,
    value_text,
    varying,
)
from ladd_ray.evaluation.sweep_study_charts import find, is_plane
from ladd_ray.sweep_records import MetricName, SweepRecord, read_sweep

PAPER, INK, SOFT_INK = "#f4f4f1", "#202226", "#6e7278"
MEAN_COLOUR = "#2f6db3"
CELL_WIDTH, CELL_HEIGHT, ROW_HEIGHT = 1.35, 0.62, 0.34
"""In inches."""

Means = NDArray[np.float64]


def study_picture(folder: Path, path: Path) -> None:
    """A PNG or WebP, by the ending of ``path``, with a panel for each score.

    Raises:
        FileNotFoundError: no sweep lies in ``folder``.
        ValueError: no trial of it was trained to the end.
    """
    sweep, trials = read_sweep(folder)
    found = configurations(trials)
    metrics = studied(sweep, found)
    if not metrics:
        raise ValueError(f"no trial in {folder} has been scored after {sweep.steps} steps yet: wait for the first")
    figure = Figure(figsize=_size(sweep, found, panels=len(metrics)), layout="constrained", facecolor=PAPER)
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        draw = _draw_plane if is_plane(sweep) else _draw_intervals
        draw(axes, sweep, found=found, metric=metric)
        axes.set_title(METRIC_LABELS[metric], loc="left", fontsize=9, color=INK)
        axes.tick_params(colors=SOFT_INK, labelsize=8, length=0)
        axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=130)


def _size(sweep: SweepRecord, found: Sequence[Configuration], *, panels: int) -> tuple[float, float]:
    if is_plane(sweep):
        down, across = (len(choices(sweep, name)) for name in varying(sweep))
        return panels * CELL_WIDTH * max(across, 2) + 0.8, CELL_HEIGHT * down + 0.9
    return panels * 3.6 + 1.2, ROW_HEIGHT * len(found) + 0.9


def _draw_plane(axes: Axes, sweep: SweepRecord, *, found: Sequence[Configuration], metric: MetricName) -> None:
    down, across = varying(sweep)
    rows, columns = choices(sweep, down), choices(sweep, across)
    means = np.full((len(rows), len(columns)), np.nan)
    texts = {}
    for place in np.ndindex(means.shape):
        one = find(found, {down: rows[place[0]], across: columns[place[1]]})
        if one and (interval := one.interval(metric, step=sweep.steps)):
            means[place] = interval.mean
            texts[place] = interval.text(DIGITS[metric]).replace(" +- ", "\n±")
    axes.imshow(means, cmap="viridis_r" if metric == "kid" else "viridis", aspect="auto")
    _write_cells(axes, texts, shade=_shades(means, low_is_good=metric == "kid"))
    labels = short_names((down, across))
    axes.set_xticks(range(len(columns)), [value_text(value) for value in columns])
    axes.set_yticks(range(len(rows)), [value_text(value) for value in rows])
    axes.set_xlabel(labels[across], fontsize=9, color=SOFT_INK)
    if metric == studied(sweep, found)[0]:
        axes.set_ylabel(labels[down], fontsize=9, color=SOFT_INK)


def _shades(means: Means, *, low_is_good: bool) -> Means:
    """How bright the map is at each cell, from 0 to 1."""
    low, high = np.nanmin(means), np.nanmax(means)
    share = (means - low) / ((high - low) or 1.0)
    return np.asarray(1 - share if low_is_good else share)


def _write_cells(axes: Axes, texts: dict[tuple[int, ...], str], *, shade: Means) -> None:
    for place, text in texts.items():
        colour = INK if shade[place] > 0.55 else "white"
        axes.text(place[1], place[0], text, ha="center", va="center", fontsize=7.5, color=colour)


def _draw_intervals(axes: Axes, sweep: SweepRecord, *, found: Sequence[Configuration], metric: MetricName) -> None:
    names = varying(sweep)
    for row, one in enumerate(found):
        values = list(one.values(metric, step=sweep.steps).values())
        interval = one.interval(metric, step=sweep.steps)
        if interval is None:
            continue
        axes.plot(values, [row] * len(values), "o", color=SOFT_INK, markersize=3.5, alpha=0.6)
        axes.errorbar(
            interval.mean, row, xerr=interval.half_width or 0, fmt="D", color=MEAN_COLOUR, markersize=5, capsize=3
        )
    axes.set_yticks(range(len(found)), [values_text(one.point, names=names) for one in found])
    if metric == studied(sweep, found)[0]:
        axes.set_ylabel(" · ".join(short_names(names).values()), fontsize=9, color=SOFT_INK)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_facecolor("white")
    axes.grid(axis="x", color="#e6e6e3", linewidth=0.7)
