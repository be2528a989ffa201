"""How long a step of every arm takes: what makes a number of steps of the seconds that all arms get. [ours]

The arms that cost different amounts are loaded together, each in a process of its own, and take their steps in turns:
a machine that slows down meets all of them alike. One that is busy does not: its scheduler lets short steps pass and
makes long ones wait.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from ladd_ray.training.comparison.plan import ComparisonPlan, Trainee, write_json
from ladd_ray.training.comparison.processes import Lab

logger = logging.getLogger(__name__)

FILE = "calibration.json"
WARM_UP, TIMED = 3, 12
"""Steps of each arm: those that are not counted, and those that are."""
QUIET = 1.5
"""Processes for each core over the last minute, from which on others are at work; our own drawing makes it 1."""


@dataclass(frozen=True)
class Cost:
    """Of training in one way."""

    seconds_per_step: float
    """Median."""
    peak_memory: int
    """Bytes of the process; see ``bench``."""

    def steps_in(self, seconds: float) -> int:
        """How many steps fit, at least one."""
        return max(int(seconds / self.seconds_per_step), 1)


def calibrated(plan: ComparisonPlan, lab: Lab) -> dict[str, Cost]:
    """The cost of every arm: what is not known yet is timed now, the rest stays as it was.

    Args:
        plan: Of the comparison, whose latents lie ready.
        lab: Where the arms take their steps.

    Raises:
        ValueError: An arm cannot be trained.
    """
    file = plan.folder / FILE
    known = _read(file)
    missing = {name: arm for name, arm in plan.workloads.items() if name not in known}
    if missing:
        _warn_if_busy()
        logger.info("time %d + %d steps each of %s", WARM_UP, TIMED, ", ".join(missing))
        known |= _beside(plan, missing, known=known, lab=lab)
        write_json(file, {name: asdict(cost) for name, cost in known.items()})
    return {arm: known[plan.workload(arm)] for arm in plan.arms}


def _warn_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > QUIET * cores:
        logger.warning(
            "this machine is busy (load %.1f on %d cores): long steps will seem longer than they are", load, cores
        )


def _beside(
    plan: ComparisonPlan, missing: Mapping[str, str], *, known: Mapping[str, Cost], lab: Lab
) -> dict[str, Cost]:
    """Times the missing ones beside one that is known, if there is, and takes out how the machine has changed since."""
    anchors = {name: arm for name, arm in plan.workloads.items() if name in known}
    anchor = dict(list(anchors.items())[:1])
    found = _timed(plan, {**anchor, **missing}, lab)
    drift = 1.0
    for name in anchor:
        drift = known[name].seconds_per_step / found.pop(name).seconds_per_step
    return {name: replace(cost, seconds_per_step=drift * cost.seconds_per_step) for name, cost in found.items()}


def _timed(plan: ComparisonPlan, workloads: Mapping[str, str], lab: Lab) -> dict[str, Cost]:
    """By the name of the workload; one arm of each takes the steps."""
    benches = {
        name: lab.bench(plan.run_config(Trainee(arm, 0), steps=WARM_UP + TIMED), plan.arms[arm].latents)
        for name, arm in workloads.items()
    }
    rounds = [{name: bench.step() for name, bench in benches.items()} for _ in range(WARM_UP + TIMED)]
    return {
        name: Cost(median(seconds[name] for seconds in rounds[WARM_UP:]), bench.close())
        for name, bench in benches.items()
    }


def _read(file: Path) -> dict[str, Cost]:
    if not file.is_file():
        return {}
    return {name: Cost(**cost) for name, cost in json.loads(file.read_text()).items()}
