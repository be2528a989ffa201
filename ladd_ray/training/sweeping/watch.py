"""Tells listeners of a sweep's news while it runs, apart from Tune: a report that fails must not end a trial."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ladd_ray.evaluation.table import markdown_table
from ladd_ray.sweep_records import TRIALS_FILE, TrialRecord, read_sweep

logger = logging.getLogger(__name__)

Listener = Callable[[Path], object]
"""Gets the folder of the sweep, whose records are whole."""
HEAD = ("trial", "point", "seed", "step", "KID", "judge", "status")


@contextmanager
def watched(folder: Path, listeners: Sequence[Listener], *, every_s: float) -> Iterator[None]:
    """Inside the block all listeners hear of news at most every ``every_s`` seconds, and once more at the end."""
    ended = threading.Event()

    def watch() -> None:
        seen = 0.0
        while not ended.wait(every_s):
            seen = _tell(folder, listeners, since=seen)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        _tell(folder, listeners, since=0.0)


def log_progress(folder: Path) -> None:
    """The table of all trials, into the log."""
    sweep, record = read_sweep(folder)
    ended = sum(trial.status != "running" for trial in record.trials)
    table = markdown_table(HEAD, [_row(trial) for trial in record.trials])
    logger.info("\n%s: %d of %d trials ended\n\n%s\n", sweep.name, ended, sweep.num_trials, table)


def _tell(folder: Path, listeners: Sequence[Listener], *, since: float) -> float:
    """The time of the news that the listeners have now heard of."""
    trials = folder / TRIALS_FILE
    changed = trials.stat().st_mtime if trials.is_file() else 0.0
    if changed > since:
        for listener in listeners:
            try:
                listener(folder)
            except Exception:
                logger.exception("a listener failed; the sweep goes on")
    return changed


def _row(trial: TrialRecord) -> list[str]:
    point = ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in trial.point.items())
    last = trial.last
    scores = ["", "", ""]
    if last is not None:
        scores = [str(last.step), f"{last.kid:.4f}", "" if last.judge is None else f"{last.judge:.3f}"]
    return [str(trial.number), point, str(trial.seed), *scores, " ".join(filter(None, [trial.status, trial.reason]))]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
