"""How points are picked and trials are ended: Tune's own parts, as a sweep sets them up, fed by hand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.trainable import FunctionTrainable, wrap_function

from ladd_ray.sections import RunConfig
from ladd_ray.training.sweeping.plan import SweepPlan, prepare_sweep
from ladd_ray.training.sweeping.search import PruningSearch, fitting_trials, param_space, trial_resources, tune_config
from ladd_ray.training.sweeping.trial import function_of_trials
from tests.tune.sweeps import STEPS, one_at_once, tiny_sweep

SPACE = {"noise.renoise_mean": {"uniform": [-2, 1]}, "discriminator.tapped_blocks": ["all", "last", [0]]}


@pytest.fixture
def plan(tiny_folder: Path, tmp_path: Path) -> SweepPlan:
    return prepare_sweep(one_at_once(tiny_sweep(tiny_folder, tmp_path)), SPACE)


def told(scheduler: TrialScheduler, name: str, *, step: int, kid: float, loss: float) -> str:
    """What the scheduler says to a score."""
    result = {"step": step, "kid": kid, "student/loss": loss}
    return str(scheduler.on_trial_result(None, trial(name), result))


def trial(name: str) -> SimpleNamespace:
    return SimpleNamespace(trial_id=name)


@pytest.fixture
def scheduler(plan: SweepPlan) -> TrialScheduler:
    found = tune_config(plan).scheduler
    assert found is not None
    found.set_search_properties("kid", "min")
    for name in "abcd":
        found.on_trial_add(None, trial(name))
    return found


def test_trials_are_stopped_for_their_score_and_never_for_their_loss(scheduler: TrialScheduler) -> None:
    assert told(scheduler, "a", step=2, kid=0.5, loss=0.1) == TrialScheduler.CONTINUE
    assert told(scheduler, "b", step=2, kid=0.4, loss=9.0) == TrialScheduler.CONTINUE
    assert told(scheduler, "c", step=2, kid=0.6, loss=0.0) == TrialScheduler.STOP
    assert told(scheduler, "d", step=2, kid=0.3, loss=99.0) == TrialScheduler.CONTINUE


def test_who_came_to_the_last_step_is_not_stopped(scheduler: TrialScheduler) -> None:
    for step in (2, 4):
        told(scheduler, "a", step=step, kid=0.4, loss=0.0)
        told(scheduler, "b", step=step, kid=0.4, loss=0.0)
    assert told(scheduler, "a", step=STEPS, kid=0.1, loss=0.0) == TrialScheduler.CONTINUE
    assert told(scheduler, "b", step=STEPS, kid=0.9, loss=0.0) == TrialScheduler.CONTINUE


def test_optuna_hears_the_truth_about_unfinished_trials(plan: SweepPlan) -> None:
    search = tune_config(plan).search_alg
    assert isinstance(search, PruningSearch)
    score = {"kid": 0.5, "training_iteration": 1, "step": 2}
    for name in ("whole", "stopped", "collapsed", "failed"):
        point = search.suggest(name)
        assert point is not None
        assert json.loads(point["discriminator.tapped_blocks"]) in SPACE["discriminator.tapped_blocks"]
    for name in ("whole", "stopped"):
        search.on_trial_result(name, score)
    search.on_trial_result("whole", {**score, "done": True})
    search.on_trial_result("collapsed", {"done": True})
    search.on_trial_complete("whole", {**score, "step": STEPS})
    search.on_trial_complete("stopped", score)
    search.on_trial_complete("collapsed", {"done": True})
    search.on_trial_complete("failed", None, error=True)
    states = [one.state for one in search._ot_study.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL]


@pytest.mark.parametrize("free", [True, False])
def test_a_process_that_does_not_come_free_is_an_error(monkeypatch: pytest.MonkeyPatch, free: bool) -> None:
    monkeypatch.setattr(FunctionTrainable, "reset_config", lambda self, new_config: free)
    kind = wrap_function(function_of_trials(partial(print)), name="trial")
    process = kind.__new__(kind)
    if free:
        assert process.reset_config({}) is True
    else:
        # Tune tells neither the search nor the journal of a False.
        with pytest.raises(TimeoutError, match="the trial before it in the same process did not leave"):
            process.reset_config({})


def test_the_same_seed_searches_the_same_points(plan: SweepPlan) -> None:
    first, second = (tune_config(plan).search_alg for _ in range(2))
    assert isinstance(first, PruningSearch)
    assert isinstance(second, PruningSearch)
    assert [first.suggest(name) for name in "abc"] == [second.suggest(name) for name in "abc"]


def test_a_grid_takes_every_point_with_every_seed(tiny_folder: Path, tmp_path: Path) -> None:
    config = one_at_once(tiny_sweep(tiny_folder, tmp_path, grid=True, seeds=(0, 1)))
    space = {"discriminator.tapped_blocks": ["all", "last"], "noise.renoise_std": [0.5, 1.0]}
    plan = prepare_sweep(config, space)
    assert param_space(plan) == {
        "discriminator.tapped_blocks": {"grid_search": ['"all"', '"last"']},
        "noise.renoise_std": {"grid_search": ["0.5", "1.0"]},
        "seed": {"grid_search": [0, 1]},
    }
    assert plan.num_trials == 8
    assert tune_config(plan).search_alg is None


@pytest.mark.parametrize(
    ("run", "offered", "count"),
    [
        ({"num_workers": 0, "engine": "local"}, {"CPU": 2.0}, 2),
        ({"num_workers": 2}, {"CPU": 2.0}, 1),
        ({"num_workers": 2, "threads_per_worker": 2}, {"CPU": 16.0}, 4),
        ({"num_workers": 4}, {"CPU": 2.0}, 1),
        ({"num_workers": 2, "device": "gpu"}, {"CPU": 64.0, "GPU": 8.0}, 4),
    ],
)
def test_as_many_trials_as_the_cluster_holds(run: dict[str, Any], offered: dict[str, float], count: int) -> None:
    assert fitting_trials(RunConfig(**run), offered) == count


def test_the_driver_of_workers_does_not_take_their_place() -> None:
    assert "cpu" not in trial_resources(RunConfig(num_workers=2))
    assert trial_resources(RunConfig(num_workers=0, threads_per_worker=3)) == {"cpu": 3, "gpu": 0.0}
