"""The winner of a sweep, and a distillation that is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import distill
from ladd_ray.models.embedded import committed_model
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import BestRecord, ScoreRecord, TrialRecord, TrialsRecord, TrialStatus, write_record
from ladd_ray.training.overrides import read_overrides
from ladd_ray.training.sweeping.plan import SweepPlan, Trainee, base_changes, claim, prepare_sweep
from ladd_ray.training.sweeping.winner import write_best
from tests.tune.sweeps import STEPS, tiny_sweep

SPACE = {"noise.renoise_mean": [-2.0, -1.0], "discriminator.tapped_blocks": ["all", "last"]}
Distil = Callable[..., tuple[int, str, str, str]]


@pytest.fixture
def plan(tiny_folder: Path, tmp_path: Path) -> SweepPlan:
    found = prepare_sweep(tiny_sweep(tiny_folder, tmp_path, grid=True, seeds=(0, 1)), SPACE)
    claim(found, mlflow_run_id=None)
    return found


@pytest.fixture
def distil(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Distil:
    """A dry run of the distillation job: exit code, standard output, standard error, log."""

    def job(*arguments: str) -> tuple[int, str, str, str]:
        caplog.clear()
        monkeypatch.setattr("sys.argv", ["distill.py", *arguments, "--dry-run"])
        return distill.main(), *capsys.readouterr(), caplog.text

    return job


def trained(
    plan: SweepPlan, number: int, point: dict[str, Any], *, seed: int, kid: float, status: TrialStatus = "done"
) -> TrialRecord:
    trainee = Trainee(plan.standard.config, plan.num_blocks)
    return TrialRecord(
        id=str(number),
        number=number,
        configuration=number // 2,
        point=point,
        changes={**base_changes(plan.config), **trainee.changes(point, seed=seed)},
        seed=seed,
        status=status,
        scores=(ScoreRecord(step=STEPS if status == "done" else 2, seconds=1, kid=kid),),
        folder=f"trials/{number}",
        started=datetime.now(UTC),
    )


def best_of(plan: SweepPlan, *trials: TrialRecord) -> BestRecord | None:
    write_record(plan.folder / "trials.json", TrialsRecord(trials=trials))
    return write_best(plan.folder, Trainee(plan.standard.config, plan.num_blocks))


@pytest.fixture
def best(plan: SweepPlan) -> Path:
    """Written for the point that has the best mean, and not for the one that has the best trial."""
    steady = {"noise.renoise_mean": -2.0, "discriminator.tapped_blocks": "last"}
    lucky = {"noise.renoise_mean": -1.0, "discriminator.tapped_blocks": "all"}
    found = best_of(
        plan,
        trained(plan, 0, lucky, seed=0, kid=0.1),
        trained(plan, 1, lucky, seed=1, kid=0.9),
        trained(plan, 2, steady, seed=1, kid=0.3),
        trained(plan, 3, steady, seed=0, kid=0.2),
    )
    assert found is not None
    assert (found.trials, found.value) == ((2, 3), pytest.approx(0.25))
    return plan.folder / "best.json"


def printed(out: str) -> dict[str, Any]:
    config, _ = json.JSONDecoder().raw_decode(out)
    return dict(config)


def test_only_whole_configurations_at_the_full_budget_can_win(plan: SweepPlan) -> None:
    point = {"noise.renoise_mean": -2.0, "discriminator.tapped_blocks": "last"}
    alone = trained(plan, 0, point, seed=0, kid=0.1)
    assert best_of(plan, alone) is None
    assert best_of(plan, alone, trained(plan, 1, point, seed=1, kid=0.0, status="stopped")) is None
    assert not (plan.folder / "best.json").exists()


def test_a_point_that_was_suggested_twice_wins_by_the_mean_of_its_seed(tiny_folder: Path, tmp_path: Path) -> None:
    searched = prepare_sweep(tiny_sweep(tiny_folder, tmp_path), SPACE)
    claim(searched, mlflow_run_id=None)
    twice = {"noise.renoise_mean": -2.0, "discriminator.tapped_blocks": "last"}
    once = {"noise.renoise_mean": -1.0, "discriminator.tapped_blocks": "last"}
    trials = [
        trained(searched, 0, twice, seed=0, kid=0.1),
        trained(searched, 1, twice, seed=0, kid=0.3),
        trained(searched, 2, once, seed=0, kid=0.25),
    ]
    found = best_of(searched, *trials)
    assert found is not None
    assert (found.trials, found.value) == ((0, 1), pytest.approx(0.2))
    stopped = trained(searched, 1, twice, seed=0, kid=0.3, status="stopped")
    found = best_of(searched, trials[0], stopped, trials[2])
    assert found is not None
    assert (found.trials, found.value) == ((0,), pytest.approx(0.1))


def test_who_failed_after_the_last_score_does_not_win(plan: SweepPlan) -> None:
    point = {"noise.renoise_mean": -2.0, "discriminator.tapped_blocks": "last"}
    whole = trained(plan, 0, point, seed=0, kid=0.1)
    failed = trained(plan, 1, point, seed=1, kid=0.1).model_copy(update={"status": "failed"})
    assert best_of(plan, whole, failed) is None


def test_the_winner_of_the_embedded_teacher_is_taken_without_drift(tmp_path: Path, distil: Distil) -> None:
    found = prepare_sweep(SweepConfig(recipe="stickers", run={"directory": str(tmp_path)}), SPACE)
    claim(found, mlflow_run_id=None)
    point = {"noise.renoise_mean": -2.0, "discriminator.tapped_blocks": "last"}
    score = ScoreRecord(step=found.standard.config.run.steps, seconds=1, kid=0.1)
    trial = trained(found, 0, point, seed=0, kid=0.1).model_copy(update={"scores": (score,)})
    best = best_of(found, trial)
    assert best is not None
    # A submitted job has its own copy of the package, which is gone when the winner is trained.
    assert best.validated["teacher.path"] == "stickers"
    for teacher in ((), ("--teacher.path", str(committed_model()))):
        file = str(found.folder / "best.json")
        code, _, _, log = distil("stickers", "--overrides", file, "--run.directory", str(tmp_path), *teacher)
        assert code == 0
        assert f"as validated by {file}" in log


def test_distillation_takes_the_winner_as_it_is(best: Path, plan: SweepPlan, distil: Distil) -> None:
    code, out, _, log = distil("stickers", "--overrides", str(best), "--run.directory", str(plan.folder.parent))
    assert code == 0
    assert f"as validated by {best}" in log
    config = printed(out)
    assert config["discriminator"]["tapped_blocks"] == [1], "of a teacher with two blocks"
    assert config["noise"]["renoise_mean"] == -2.0
    assert config["run"]["steps"] == STEPS
    assert config["run"]["seed"] == 0


def test_a_run_that_deviates_says_so(best: Path, plan: SweepPlan, distil: Distil) -> None:
    more = ("--run.steps", "500", "--run.global-batch-size", "8", "--run.name", "longer")
    code, out, _, log = distil("stickers", "--overrides", str(best), "--run.directory", str(plan.folder.parent), *more)
    assert code == 0
    assert "CONFIG DRIFT" in log
    assert f"run.steps: 500 here, {STEPS} in the trial" in log
    assert "run.global_batch_size: 8 here, 4 in the trial" in log
    assert "run.name" not in log
    assert printed(out)["run"]["steps"] == 500


def test_a_winner_belongs_to_its_recipe(best: Path, distil: Distil) -> None:
    code, _, err, _ = distil("stickers_lcm", "--overrides", str(best))
    assert code == 2
    assert "is for the recipe stickers, not for stickers_lcm" in err


def test_a_plain_file_of_settings(tmp_path: Path, tiny_folder: Path, distil: Distil) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"student.lr": 3e-4, "teacher.path": str(tiny_folder)}))
    code, out, _, log = distil("stickers", "--overrides", str(file), "--run.directory", str(tmp_path))
    assert code == 0
    assert printed(out)["student"]["lr"] == 3e-4
    assert "DRIFT" not in log
    file.write_text(json.dumps({"student.learning_rate": 1}))
    code, _, err, _ = distil("stickers", "--overrides", str(file))
    assert code == 2
    assert "unknown setting 'student.learning_rate'" in err


@pytest.mark.parametrize(("text", "complaint"), [(None, "no file at"), ("{", "is no JSON"), ("[1]", "must map")])
def test_files_that_are_no_overrides(tmp_path: Path, text: str | None, complaint: str) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_overrides(file)
