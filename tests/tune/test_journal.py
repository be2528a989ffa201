"""The journal of a sweep, told by hand: what ended stays, what a kill left behind goes, reasons are one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ladd_ray.sweep_records import TrialRecord, read_trials
from ladd_ray.training.sweeping.journal import Journal, last_error
from ladd_ray.training.sweeping.plan import Trainee, prepare_sweep
from tests.tune.sweeps import STEPS, tiny_sweep

TRACE = """\
ray.exceptions.RayTaskError(FloatingPointError): ray::ImplicitFunc.train() (pid=1)
  File "zero.py", line 1, in update
FloatingPointError: loss is nan at step 3 on rank 0
"""


@pytest.fixture
def journal(tiny_folder: Path, tmp_path: Path) -> Journal:
    return opened(tiny_folder, tmp_path)


def opened(teacher: Path, directory: Path) -> Journal:
    config = tiny_sweep(teacher, directory)
    plan = prepare_sweep(config, {"noise.renoise_mean": {"uniform": [-2, 1]}, "discriminator.tapped_blocks": ["last"]})
    found = Journal(plan.folder, config, Trainee(plan.standard.config, plan.num_blocks))
    found.setup()
    return found


def tuned(name: str, *, mean: float = -1.0, error_file: Path | None = None) -> Any:
    """A trial as Tune shows it."""
    parameters = {"noise.renoise_mean": mean, "discriminator.tapped_blocks": json.dumps("last"), "seed": 0}
    return SimpleNamespace(trial_id=name, config=parameters, error_file=error_file and str(error_file))


def start(journal: Journal, *trials: Any) -> None:
    for trial in trials:
        journal.on_trial_start(0, list(trials), trial)


def score(journal: Journal, trial: Any, *, step: int, kid: float) -> None:
    journal.on_trial_result(0, [trial], trial, {"step": step, "seconds": 1.0, "kid": kid, "judge": 0.5, "pid": 1})


def recorded(folder: Path) -> dict[str, TrialRecord]:
    return {trial.id: trial for trial in read_trials(folder / "sweep").trials}


def test_a_trial_from_its_start_to_its_end(journal: Journal, tmp_path: Path) -> None:
    trial = tuned("a")
    start(journal, trial)
    begun = recorded(tmp_path)["a"]
    assert (begun.number, begun.status, begun.ended) == (0, "running", None)
    assert begun.point == {"noise.renoise_mean": -1.0, "discriminator.tapped_blocks": "last"}
    assert begun.changes["discriminator.tapped_blocks"] == [1]
    assert begun.changes["run.steps"] == STEPS
    score(journal, trial, step=2, kid=0.5)
    score(journal, trial, step=STEPS, kid=0.25)
    journal.on_trial_complete(0, [trial], trial)
    ended = recorded(tmp_path)["a"]
    assert (ended.status, ended.reason) == ("done", "")
    assert [(one.step, one.kid, one.judge) for one in ended.scores] == [(2, 0.5, 0.5), (STEPS, 0.25, 0.5)]


def test_a_resumed_trial_scores_again_and_the_newer_score_counts(journal: Journal, tmp_path: Path) -> None:
    trial = tuned("a")
    start(journal, trial)
    for step, kid in ((2, 0.5), (4, 0.4), (2, 0.6)):
        score(journal, trial, step=step, kid=kid)
    assert [(one.step, one.kid) for one in recorded(tmp_path)["a"].scores] == [(2, 0.6)]


def test_what_ended_stays_whatever_a_restored_tune_says(journal: Journal, tiny_folder: Path, tmp_path: Path) -> None:
    trial = tuned("a")
    start(journal, trial)
    score(journal, trial, step=2, kid=0.5)
    journal.on_trial_complete(0, [trial], trial)
    before = recorded(tmp_path)
    assert before["a"].status == "stopped"
    assert before["a"].reason == "kid 0.5 at step 2: not among the best 1/2 that came so far"
    again = opened(tiny_folder, tmp_path)
    start(again, trial)
    score(again, trial, step=4, kid=0.1)
    again.on_trial_error(0, [trial], trial)
    assert recorded(tmp_path) == before


def test_what_a_kill_left_behind_and_tune_forgot_goes(journal: Journal, tiny_folder: Path, tmp_path: Path) -> None:
    first, lost, ended = tuned("first"), tuned("lost", mean=0.0), tuned("ended", mean=0.5)
    start(journal, first, lost, ended)
    journal.on_trial_error(0, [ended], ended)
    again = opened(tiny_folder, tmp_path)
    start(again, first, tuned("next", mean=0.25))
    assert {name: trial.number for name, trial in recorded(tmp_path).items()} == {"first": 0, "ended": 2, "next": 3}


def test_trials_at_one_point_are_one_configuration(journal: Journal, tmp_path: Path) -> None:
    start(journal, tuned("a", mean=0.0), tuned("b", mean=0.5), tuned("c", mean=0.0))
    assert [trial.configuration for trial in recorded(tmp_path).values()] == [0, 1, 0]


@pytest.mark.parametrize("ended", ["on_trial_error", "on_trial_complete"])
def test_a_trial_that_never_started_is_told_too(journal: Journal, tmp_path: Path, ended: str) -> None:
    (tmp_path / "error.txt").write_text("ActorDiedError: The actor died because of an error raised in its creation")
    trial = tuned("a", mean=0.5, error_file=tmp_path / "error.txt")
    start(journal, tuned("other"))
    getattr(journal, ended)(0, [trial], trial)
    found = recorded(tmp_path)["a"]
    status, reason = {"on_trial_error": ("failed", "ActorDiedError"), "on_trial_complete": ("stopped", "it ended")}[
        ended
    ]
    assert (found.number, found.status, found.point["noise.renoise_mean"]) == (1, status, 0.5)
    assert found.reason.startswith(reason)


def test_a_score_of_a_trial_that_never_started_counts(journal: Journal, tmp_path: Path) -> None:
    score(journal, tuned("a"), step=2, kid=0.5)
    assert [one.kid for one in recorded(tmp_path)["a"].scores] == [0.5]


def test_an_error_is_told_in_a_line(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text(TRACE)
    trial = tuned("a", error_file=tmp_path / "error.txt")
    start(journal, trial)
    journal.on_trial_error(0, [trial], trial)
    assert recorded(tmp_path)["a"].status == "failed"
    assert recorded(tmp_path)["a"].reason == "FloatingPointError: loss is nan at step 3 on rank 0"
    assert last_error("The actor died.") == "The actor died."
    assert last_error("") == "it ended without a word"
