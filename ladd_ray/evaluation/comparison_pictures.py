"""compare.png, scores against the number of steps, and sheet.png, the same prompts drawn by everybody.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ladd_ray.compare_config import STUDIES, Study
from ladd_ray.evaluation.comparison import BySteps, Comparison, Measure, distance, judged
from ladd_ray.evaluation.contact_sheet import Cell, Row, Section, contact_sheet
from ladd_ray.evaluation.metrics import Pictures
from ladd_ray.evaluation.pictures import INK, PAPER, SOFT_INK

COLOURS = ("#2f6db3", "#d9822b", "#3d9970", "#b0413e", "#7a5ea8")
MEASURES: Sequence[tuple[str, Measure]] = (
    ("judge score, higher is better", judged),
    ("KID to the teacher, lower is better", distance),
)
PANEL_WIDTH, PANEL_HEIGHT = 4.0, 3.2
LABEL_LETTERS = 14
"""Of a line beside a row of the sheet."""
SIDEWAYS = 0.06
"""How far the arms of a panel stand apart at one number of steps, as a share of it."""

Drawn = Mapping[int, Pictures]
"""Number of steps to the first pictures (n, h, w, 3)."""


def comparison_chart(comparison: Comparison, path: Path) -> None:
    """A PNG with a column for each study: a line for the mean of each arm, a dot for each seed."""
    studies = [STUDIES[name] for name in comparison.studies]
    size = (PANEL_WIDTH * len(studies) + 0.4, PANEL_HEIGHT * len(MEASURES))
    figure = Figure(figsize=size, layout="constrained", facecolor=_shade(PAPER))
    grid = figure.subplots(len(MEASURES), len(studies), squeeze=False, sharey="row")
    for row, (title, measure) in zip(grid, MEASURES, strict=True):
        for axes, study in zip(row, studies, strict=True):
            _draw_panel(axes, study, comparison=comparison, measure=measure)
        row[0].set_ylabel(title, fontsize=9, color=_shade(SOFT_INK))
    for axes, study in zip(grid[0], studies, strict=True):
        axes.set_title(study.title, loc="left", fontsize=11, weight="bold", color=_shade(INK))
        # Beside the lines there is no room that is free in every study.
        axes.legend(frameon=False, fontsize=7.5, loc="upper left", bbox_to_anchor=(0, -0.18))
    figure.savefig(path, dpi=130, format="png")


def comparison_sheet(studies: Sequence[Study], drawn: Mapping[str, Drawn], *, beside: Row, path: Path) -> None:
    """A PNG with a section for each study and a row for each arm.

    Args:
        studies: What to show; arms without pictures are left out.
        drawn: Pictures of every arm by its name.
        beside: What every section begins with, in cells of as many pictures; it has the prompts.
        path: The file to write.
    """
    sections = [
        Section(
            study.title,
            f"every arm in {_counts(drawn[next(iter(arms))])} steps, from the same noise",
            [beside, *(arm_row(label, drawn[name], captions=[""] * len(beside.cells)) for name, label in arms.items())],
        )
        for study in studies
        if (arms := {name: label for name, label in study.arms.items() if name in drawn})
    ]
    contact_sheet(sections, path)


def arm_row(label: str, drawn: Drawn, *, captions: Sequence[str]) -> Row:
    """A cell for each prompt, which holds its picture at every number of steps."""
    by_prompt = zip(*drawn.values(), strict=True)
    lines = textwrap.fill(label, LABEL_LETTERS)
    return Row(lines, [Cell(list(pictures), text) for pictures, text in zip(by_prompt, captions, strict=True)])


def _counts(drawn: Drawn) -> str:
    *first, last = map(str, drawn)
    return f"{', '.join(first)} and {last}" if first else last


def _draw_panel(axes: Axes, study: Study, *, comparison: Comparison, measure: Measure) -> None:
    present = {name: label for name, label in study.arms.items() if name in comparison.arms}
    for place, (name, label) in enumerate(present.items()):
        shift = 1 + SIDEWAYS * (place - (len(present) - 1) / 2)
        _draw_arm(axes, comparison.arms[name].scores, measure=measure, label=label, colour=COLOURS[place], shift=shift)
    axes.axhline(measure(comparison.teacher), color=_shade(INK), linewidth=1, linestyle="--", label="guided teacher")
    axes.set_xscale("log", base=2)
    ticks = sorted({steps for arm in comparison.arms.values() for steps in arm.scores})
    axes.set_xticks(ticks, [str(steps) for steps in ticks])
    axes.minorticks_off()
    axes.set_xlabel("sampling steps", fontsize=8, color=_shade(SOFT_INK))
    axes.set_facecolor("white")
    axes.grid(color="#e6e6e3", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_shade(SOFT_INK), labelsize=8)


def _draw_arm(axes: Axes, scores: BySteps, *, measure: Measure, label: str, colour: str, shift: float) -> None:
    steps = np.array(list(scores)) * shift
    values = [[measure(one) for one in by_seed.values()] for by_seed in scores.values()]
    axes.plot(steps, [np.mean(column) for column in values], color=colour, linewidth=1.6, label=label)
    for place, column in zip(steps, values, strict=True):
        axes.plot([place] * len(column), column, "o", color=colour, markersize=3.5, alpha=0.75)


def _shade(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
