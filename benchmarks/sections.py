"""Runs benchmarks one by one, each within its time: a failure is a result like any other."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

Row = dict[str, str | int | float | bool | None]
"""One line of a table: column name to value."""

LONGEST_REASON = 600
"""Characters of an exception's text that are kept."""


@dataclass(frozen=True)
class Case:
    """One line of a section."""

    name: str
    run: Callable[[], Row]


@dataclass(frozen=True)
class Section:
    """A table of cases that share a time budget."""

    name: str
    title: str
    """What the table shows and under which conditions."""
    cases: Sequence[Case]
    budget_s: float
    """Seconds for all cases together."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    name: str
    status: str
    """ok, failed, skipped or out of time."""
    seconds: float
    row: Row = field(default_factory=dict)
    reason: str | None = None
    """Why there is no row."""


@dataclass
class SectionResult:
    """What became of a section; it grows while its cases run."""

    name: str
    title: str
    outcomes: list[Outcome] = field(default_factory=list)

    def to_json(self) -> Mapping[str, Any]:
        """The same as plain data."""
        return asdict(self)


class SkippedError(Exception):
    """A case that cannot run here, for a reason that is nobody's mistake."""


class OutOfTimeError(BaseException):
    """The time of a case is over. Not an ``Exception``: libraries that recover from those would go on."""


def run_section(
    section: Section, *, deadline: float, after_case: Callable[[SectionResult, Outcome], None]
) -> SectionResult:
    """Runs the cases in order, within the section's budget and until ``deadline`` (seconds of ``monotonic``).

    ``after_case`` hears of every outcome at once.
    """
    end = min(deadline, time.monotonic() + section.budget_s)
    result = SectionResult(section.name, section.title)
    for case in section.cases:
        outcome = run_case(case, seconds=end - time.monotonic())
        result.outcomes.append(outcome)
        after_case(result, outcome)
    return result


def run_case(case: Case, *, seconds: float) -> Outcome:
    """Runs one case; never raises but for an interrupt from the keyboard."""
    if seconds <= 0:
        return Outcome(case.name, "out of time", 0.0, reason="no time was left to begin it")
    start = time.monotonic()

    def outcome(status: str, *, row: Row | None = None, reason: str | None = None) -> Outcome:
        return Outcome(case.name, status, round(time.monotonic() - start, 3), row=row or {}, reason=reason)

    try:
        with time_limit(seconds):
            return outcome("ok", row=case.run())
    except SkippedError as error:
        return outcome("skipped", reason=str(error))
    except OutOfTimeError:
        return outcome("out of time", reason=f"stopped after {seconds:.0f} s")
    except Exception as error:  # noqa: BLE001 - one broken case must not cost the others their turn
        return outcome("failed", reason=f"{type(error).__name__}: {error}"[:LONGEST_REASON])


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises ``OutOfTimeError`` in the block when ``seconds`` are over. Main thread only; not reentrant."""
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _ring(*_: object) -> NoReturn:
    raise OutOfTimeError
