"""Sweeps that were never run: records as a sweep leaves them, with made-up scores."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from ladd_ray.sweep_records import (
    SWEEP_FILE,
    TRIALS_FILE,
    ChoiceRecord,
    DimensionRecord,
    RangeRecord,
    ScoreRecord,
    SweepRecord,
    TrialRecord,
    TrialsRecord,
    write_record,
)

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
PLANE = {
    "noise.renoise_mean": ChoiceRecord(values=(-1.0, 0.0, 1.0)),
    "noise.renoise_std": ChoiceRecord(values=(0.5, 1.0)),
}
WIDE: dict[str, DimensionRecord] = {
    "noise.renoise_mean": RangeRecord(kind="uniform", low=-2.0, high=2.0),
    "discriminator.lr": RangeRecord(kind="log_uniform", low=1e-4, high=1e-2),
    "student.lr": RangeRecord(kind="log_uniform", low=1e-5, high=1e-3),
    "discriminator.tapped_blocks": ChoiceRecord(values=("all", "half", "last")),
    "discriminator.condition_on_sigma": ChoiceRecord(values=(True, False)),
}


def sweep_record(space: dict[str, DimensionRecord], *, grid: bool, **changes: object) -> SweepRecord:
    told = {
        "name": "noise-study", "recipe": "stickers", "space_name": "noise", "space": space, "grid": grid,
        "metric": "judge", "steps": 100, "scored_at": (25, 50, 100), "rungs": () if grid else (25, 50),
        "seeds": (0, 1, 2) if grid else (0,), "num_trials": 18, "base": {"run.num_workers": 0},
        "protocol": {"hash": "4f1c2a"}, "started": START,
    }  # fmt: skip
    return SweepRecord.model_validate({**told, **changes})


def trial_record(number: int, point: dict[str, object], *, judge: list[float], **changes: object) -> TrialRecord:
    scores = tuple(
        ScoreRecord(step=step, seconds=step * 0.5, kid=0.4 - value / 3, judge=value)
        for step, value in zip((25, 50, 100), judge, strict=False)
    )
    told = {
        "id": f"t{number:05d}", "number": number, "configuration": number, "point": point, "changes": point, "seed": 0,
        "status": "done", "scores": scores, "folder": f"trials/{number:03d}", "started": START,
        "ended": START + timedelta(seconds=90),
    }  # fmt: skip
    return TrialRecord.model_validate({**told, **changes})


def plane_trials() -> list[TrialRecord]:
    """A whole grid over ``PLANE`` with three seeds: best at mean 0 and std 1 by .1, seeds apart by .02."""
    points = list(product(*(dimension.values for dimension in PLANE.values())))
    return [
        trial_record(
            3 * place + seed,
            dict(zip(PLANE, point, strict=True)),
            judge=[0.4, 0.6, 0.9 - 0.1 * abs(point[0]) - 0.1 * abs(point[1] - 1) + 0.02 * seed],
            configuration=place,
            seed=seed,
        )
        for place, point in enumerate(points)
        for seed in range(3)
    ]


def searched_trials(count: int) -> list[TrialRecord]:
    """Points of ``WIDE``, of which the judge minds the mean much, the heads' rate little, and the rest not at all."""
    random = np.random.default_rng(0)
    trials = []
    for number in range(count):
        mean, rate = random.uniform(-2, 2), 10 ** random.uniform(-4, -2)
        point = {
            "noise.renoise_mean": mean,
            "discriminator.lr": rate,
            "student.lr": 10 ** random.uniform(-5, -3),
            "discriminator.tapped_blocks": ["all", "half", "last"][number % 3],
            "discriminator.condition_on_sigma": bool(number % 2),
        }
        quality = 0.9 - 0.15 * mean**2 - 0.03 * abs(math.log10(rate) + 3)
        trials.append(trial_record(number, point, judge=[0.5 * quality, 0.8 * quality, quality]))
    return trials


def write_sweep(folder: Path, sweep: SweepRecord, trials: list[TrialRecord]) -> Path:
    write_record(folder / SWEEP_FILE, sweep)
    write_record(folder / TRIALS_FILE, TrialsRecord(trials=tuple(trials)))
    return folder


def write_sheet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 256, 3), dtype=np.uint8)).save(path)
