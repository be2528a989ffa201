"""What a collapsed run leaves behind: a report for people, its curves, and how its driver hears of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ladd_ray.algorithm.health import FIGURES
from ladd_ray.evaluation.pictures import training_curves
from ladd_ray.evaluation.table import markdown_table
from ladd_ray.interfaces import Tracker
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.health import CollapseError
from ladd_ray.training.run_folder import RunFolder

REPORT_NAME = "collapse.md"
SHOWN = (
    "discriminator/accuracy", "discriminator/dead_hinge", "discriminator/gradient_norm", "student/gradient_norm",
)  # fmt: skip
LAST_POINTS = 10

Point = Mapping[str, float]


class CollapsedRunError(ValueError):
    """A run that burnt its time for nothing. A ``ValueError``, since the fix lies in its configuration."""


@contextmanager
def reported_collapse(folder: RunFolder, tracker: Tracker, *, rank: int) -> Iterator[None]:
    """A collapse inside the block leaves a report, written by rank 0, and goes on up."""
    if rank == 0:
        # That of an earlier attempt says nothing about this one.
        (folder.path / REPORT_NAME).unlink(missing_ok=True)
    try:
        yield
    except CollapseError as collapse:
        if rank == 0:
            write_collapse(collapse, folder, tracker=tracker)
        raise


def write_collapse(collapse: CollapseError, folder: RunFolder, *, tracker: Tracker) -> None:
    """collapse.md and curves.png into the run's folder, and to the tracker."""
    history = LocalHistory(folder.path / "metrics.jsonl").read()
    training_curves(history, folder.path / "curves.png", title=folder.path.name)
    report = folder.path / REPORT_NAME
    partial = report.with_suffix(".part")
    partial.write_text(_report(collapse, history))
    partial.replace(report)
    tracker.log_artifacts([report, folder.path / "curves.png"])


def require_no_collapse(folder: RunFolder) -> None:
    """Tell the driver of a run what its workers saw.

    Raises:
        CollapsedRunError: they stopped with a report.
    """
    report = folder.path / REPORT_NAME
    if report.is_file():
        headline = report.read_text().partition("\n")[0].removeprefix("# ")
        raise CollapsedRunError(f"{headline}. What was seen and what to change: {report}")


def _report(collapse: CollapseError, history: Sequence[Point]) -> str:
    symptom = collapse.symptom
    headline = str(collapse)
    remedies = "\n".join(f"- {remedy}" for remedy in symptom.remedies)
    return (
        f"# {headline[0].upper()}{headline[1:]}\n\n"
        f"{symptom.seen} {symptom.cause}\n\n"
        f"## What was seen\n\n{_last_points(history)}\n\n{_by_place(history)}\n\n![curves](curves.png)\n\n"
        f"## What to change\n\nOne of these, in this order, under another `run.name`:\n\n{remedies}\n\n"
        "`health.stop = false` lets such a run go on.\n"
    )


def _last_points(history: Sequence[Point]) -> str:
    points = [point for point in history if SHOWN[0] in point][-LAST_POINTS:]
    rows = [[f"{point['step']:g}", *(_number(point, name) for name in SHOWN)] for point in points]
    return markdown_table(("step", *SHOWN), rows)


def _by_place(history: Sequence[Point]) -> str:
    """The last point, by head and by noise level."""
    last: Point = next((point for point in reversed(history) if SHOWN[0] in point), {})
    names = [name.split("/") for name in last if name.startswith("health/")]
    places = dict.fromkeys(place for _, place, _ in names)
    rows = [[place, *(_number(last, f"health/{place}/{figure}") for figure in FIGURES)] for place in places]
    return markdown_table(("at the last point", *FIGURES), rows)


def _number(point: Point, name: str) -> str:
    return f"{point[name]:.4g}" if name in point else ""
