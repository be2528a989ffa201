"""What a sweep leaves behind for people and reports: ``sweep.json`` says what was asked, ``trials.json`` what came out.

Both lie in the folder of the sweep, are always whole, and may be read while it runs: ``trials.json`` is replaced at
every new score and at every end of a trial.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import AwareDatetime, Field, JsonValue

from ladd_ray.sections import Section

SWEEP_FILE, TRIALS_FILE, BEST_FILE = "sweep.json", "trials.json", "best.json"

MetricName = Literal["kid", "judge"]
TrialStatus = Literal["running", "done", "stopped", "collapsed", "failed"]
Record = TypeVar("Record", bound=Section)


class ChoiceRecord(Section):
    """A dimension with listed values; in a grid, all of them are taken."""

    kind: Literal["choice"] = "choice"
    values: tuple[JsonValue, ...]
    """As they stand in ``TrialRecord.point``. Blocks of the transformer may be named: all, half, last."""


class RangeRecord(Section):
    """A dimension of numbers between two bounds."""

    kind: Literal["uniform", "log_uniform"]
    low: float
    high: float


DimensionRecord = ChoiceRecord | RangeRecord


class ScoreRecord(Section):
    """Scores of the student's moving average, on the sweep's held-out prompts."""

    step: int = Field(ge=1)
    """Optimizer steps done."""
    seconds: float = Field(ge=0)
    """Of training, with scoring and without the start of the workers."""
    kid: float
    """KID-EffNetLite0 to pictures of the guided teacher; lower is better. Unbiased: it may fall a little below 0."""
    judge: float | None = None
    """Share of pictures that show what their prompt says, in the eyes of the embedded world's judge; higher is better.
    None where the prompts are not those of the embedded world."""


class TrialRecord(Section):
    """One distillation: a point of the space, with a seed."""

    id: str
    """Tune's."""
    number: int = Field(ge=0)
    """In the order of their starts."""
    configuration: int = Field(ge=0)
    """Trials at the same point share this number; they differ by their seed."""
    point: dict[str, JsonValue]
    """Value of every dimension of the space, by dotted names."""
    changes: dict[str, JsonValue]
    """Everything that makes this run out of the recipe, by dotted names, names resolved."""
    seed: int
    status: TrialStatus = "running"
    """done: trained to the end. stopped: scores behind those of others at a rung. collapsed: a health gate gave it up.
    failed: it ended in an error."""
    reason: str = ""
    """Why it was stopped, collapsed or failed, in a line."""
    scores: tuple[ScoreRecord, ...] = ()
    """By rising steps."""
    folder: str
    """Of its run, relative to the folder of the sweep; collapse.md and curves.png lie in it after a collapse."""
    sheet: str | None = None
    """Pictures of the first held-out prompts at the latest score, relative to the folder of the sweep."""
    started: AwareDatetime
    ended: AwareDatetime | None = None
    mlflow_run_id: str | None = None

    @property
    def last(self) -> ScoreRecord | None:
        """The latest score."""
        return self.scores[-1] if self.scores else None


class SweepRecord(Section):
    """What was asked."""

    name: str
    recipe: str
    space_name: str
    """Of the built-in space, or the file of the user's own."""
    space: dict[str, DimensionRecord]
    """By dotted names."""
    grid: bool
    """Every point of the space, each to the end; otherwise points are searched, and those behind are stopped."""
    metric: MetricName
    """What decides; kid is to be low, judge to be high."""
    steps: int
    """Of a trial that is not stopped."""
    scored_at: tuple[int, ...]
    """Steps at which trials are scored."""
    rungs: tuple[int, ...]
    """Steps at which trials can be stopped for their score; () in a grid."""
    seeds: tuple[int, ...]
    num_trials: int
    """When all have begun."""
    base: dict[str, JsonValue]
    """Changes of the recipe that all trials share, by dotted names."""
    protocol: dict[str, JsonValue]
    """How scores are made, with a hash; scores with different hashes must not be compared."""
    started: AwareDatetime
    ended: AwareDatetime | None = None
    """None while it runs, or after it was killed."""
    mlflow_run_id: str | None = None
    """The parent of the trials' runs."""


class TrialsRecord(Section):
    """What came out so far."""

    trials: tuple[TrialRecord, ...] = ()


class BestRecord(Section):
    """The winner, which ``jobs/distill.py RECIPE --overrides best.json`` takes as it is."""

    recipe: str
    changes: dict[str, JsonValue]
    """By dotted names; what makes the winner out of the recipe."""
    validated: dict[str, JsonValue]
    """Every setting of the winning trials, by dotted names. A run that deviates from it says so when it starts."""
    sweep: str
    metric: MetricName
    value: float
    """Mean over the seeds at the full budget."""
    trials: tuple[int, ...]
    """Numbers of the winning trials, at least one for each seed."""


def read_record(path: Path, kind: type[Record]) -> Record:
    """A record from its file.

    Raises:
        ValueError: the file is not one of these.
    """
    return kind.model_validate_json(path.read_text())


def write_record(path: Path, record: Section) -> None:
    """A file that appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(record.model_dump_json(indent=2) + "\n")
    partial.replace(path)


def read_sweep(folder: Path) -> tuple[SweepRecord, TrialsRecord]:
    """Both records of a sweep's folder; no trials where none has begun.

    Raises:
        FileNotFoundError: no sweep lies there.
    """
    return read_record(folder / SWEEP_FILE, SweepRecord), read_trials(folder)


def read_trials(folder: Path) -> TrialsRecord:
    """All trials that a sweep has begun so far."""
    file = folder / TRIALS_FILE
    return read_record(file, TrialsRecord) if file.is_file() else TrialsRecord()
