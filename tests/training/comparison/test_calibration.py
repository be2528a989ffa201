"""Steps are timed in turns, kept, and made of seconds; by benches whose clocks are made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ladd_ray.config import Config
from ladd_ray.training.comparison.calibration import FILE, TIMED, WARM_UP, Cost, calibrated
from ladd_ray.training.comparison.plan import ComparisonPlan, claim, prepare_comparison
from ladd_ray.training.comparison.processes import Lab
from tests.training.comparison.conftest import Configure


class Clocks:
    """Benches that know how long their steps take, on a machine that may be slower."""

    def __init__(self, seconds: Mapping[str, float], *, slowness: float = 1.0) -> None:
        self.seconds, self.slowness, self.turns = seconds, slowness, list[str]()

    @property
    def lab(self) -> Lab:
        return Lab(bench=self.open, train=lambda config: pytest.fail(f"{config.run.name} is trained"))

    def open(self, config: Config, latents: Path) -> Clock:
        return Clock(self, config.run.name.removesuffix("-seed0"))


class Clock:
    def __init__(self, clocks: Clocks, arm: str) -> None:
        self._clocks, self._arm = clocks, arm

    def step(self) -> float:
        turns = self._clocks.turns
        turns.append(self._arm)
        slow = 100.0 if turns.count(self._arm) <= WARM_UP or len(turns) % 7 == 0 else 1.0
        return slow * self._clocks.slowness * self._clocks.seconds[self._arm]

    def close(self) -> int:
        return int(1000 * self._clocks.seconds[self._arm])


SECONDS = {"ladd": 0.5, "add": 0.9, "lcm": 0.7, "distilled": 0.6}


@pytest.fixture
def plan(configure: Configure) -> ComparisonPlan:
    plan = prepare_comparison(configure())
    claim(plan)
    return plan


def test_arms_take_turns_and_outliers_and_warm_up_do_not_count(plan: ComparisonPlan) -> None:
    clocks = Clocks(SECONDS)
    costs = calibrated(plan, clocks.lab)
    assert costs == {"ladd": Cost(0.5, 500), "add": Cost(0.9, 900), "lcm": Cost(0.7, 700)}
    assert clocks.turns == ["ladd", "add", "lcm"] * (WARM_UP + TIMED)


def test_a_restart_keeps_what_was_timed(plan: ComparisonPlan) -> None:
    first = calibrated(plan, Clocks(SECONDS).lab)
    again = Clocks(SECONDS, slowness=3)
    assert calibrated(plan, again.lab) == first
    assert again.turns == []


def test_a_further_arm_is_timed_beside_a_known_one(plan: ComparisonPlan, configure: Configure) -> None:
    calibrated(plan, Clocks(SECONDS).lab)
    later = Clocks(SECONDS, slowness=3)
    costs = calibrated(prepare_comparison(configure(studies=("distillation",))), later.lab)
    assert set(later.turns) == {"ladd", "distilled"}
    # The machine is three times slower now, for both.
    assert costs["distilled"].seconds_per_step == pytest.approx(0.6)
    assert costs["real-distilled"] == costs["distilled"]
    assert costs["real"] == costs["ladd"] == Cost(0.5, 500)
    assert set(json.loads((plan.folder / FILE).read_text())) == {"ladd", "add", "lcm", "distilled"}


@pytest.mark.parametrize(("load", "warned"), [(0.5, False), (9.0, True)])
def test_a_busy_machine_is_told(
    plan: ComparisonPlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, load: float, warned: bool
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    calibrated(plan, Clocks(SECONDS).lab)
    assert ("machine is busy (load 9.0 on 2 cores)" in caplog.text) == warned


@pytest.mark.parametrize(("seconds", "steps"), [(120.0, 240), (120.4, 240), (0.1, 1)])
def test_steps_are_what_fits(seconds: float, steps: int) -> None:
    assert Cost(0.5, 0).steps_in(seconds) == steps
