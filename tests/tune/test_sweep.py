"""Whole sweeps on a cluster: trials that are done, stopped, collapsed and failed; a kill; workers of Ray Train."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient
from ray import tune
from ray.tune.trainable import FunctionTrainable

from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import BestRecord, TrialRecord, read_record, read_sweep, read_trials
from ladd_ray.training.sweeping.journal import Journal
from ladd_ray.training.sweeping.launch import sweep
from ladd_ray.training.sweeping.plan import Trainee, prepare_sweep
from ladd_ray.training.sweeping.search import param_space, tune_config
from ladd_ray.training.sweeping.trial import function_of_trials
from tests.ports import free_port
from tests.tune.sweeps import STEPS, one_at_once, tiny_sweep

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.training.sweeping.launch import sweep
import json, ray
ray.init(num_cpus=2, include_dashboard=False)
sweep(SweepConfig.model_validate_json(sys.argv[1]), json.loads(sys.argv[2]))
"""
MINUTES = 60.0
SPACE = {"noise.renoise_mean": {"uniform": [-2, 1]}, "student.lr": [1e-3, 1e-4, 1e30]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """The sweeps join it.

    Ray Train's cleaner, which frees the CPUs of a stopped trial's workers, asks the dashboard, and gives up where a
    machine has several clusters, as with two processes of pytest. So there is a dashboard, and the processes are told
    the address, which must be chosen before.
    """
    port, host = free_port(), ray.util.get_node_ip_address()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_GCS_SERVER_PORT", str(port))
        ray.init(
            num_cpus=2,
            include_dashboard=True,
            dashboard_port=free_port(),
            logging_level="WARNING",
            runtime_env={"env_vars": {"RAY_ADDRESS": f"{host}:{port}"}},
        )
    # No longer in the environment: clusters that child processes start have ports of their own.
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def searched(cluster: None, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search whose points are good, sick and broken."""
    config = one_at_once(tiny_sweep(tiny_folder, tmp_path_factory.mktemp("searched"), samples=6))
    heard: list[int] = []
    folder = sweep(config, SPACE, listeners=[lambda found: heard.append(len(read_trials(found).trials)), broken])
    assert heard[-1] == 6
    return folder


def broken(folder: Path) -> None:
    raise RuntimeError(f"no report of {folder} today")


def test_every_trial_ends_and_says_how(searched: Path) -> None:
    record, trials = read_sweep(searched)
    assert record.ended is not None
    assert [trial.number for trial in trials.trials] == list(range(6))
    assert {trial.status for trial in trials.trials} == {"done", "stopped", "failed"}
    for trial in trials.trials:
        assert trial.ended is not None
        assert not (searched / trial.folder / "checkpoints").exists()
        check_scores(trial, searched)


def check_scores(trial: TrialRecord, folder: Path) -> None:
    steps = [score.step for score in trial.scores]
    if trial.status == "done":
        assert steps == [2, 4, 6, STEPS]
        assert (folder / trial.folder / "export").is_dir()
    if trial.status == "stopped":
        assert steps in ([2], [2, 4])
        assert f"at step {steps[-1]}: not among the best 1/2" in trial.reason
    if trial.status == "failed":
        assert trial.point["student.lr"] == 1e30
        assert "FloatingPointError" in trial.reason
    if trial.scores:
        assert trial.sheet is not None
        assert (folder / trial.sheet).is_file()


def test_the_best_of_those_at_the_full_budget_wins(searched: Path) -> None:
    best = read_record(searched / "best.json", BestRecord)
    done = [trial for trial in read_trials(searched).trials if trial.status == "done"]
    winner = min(done, key=lambda trial: trial.scores[-1].kid)
    assert (best.trials, best.value) == ((winner.number,), winner.scores[-1].kid)
    assert best.changes == winner.changes


def test_trials_share_latents_and_reference(searched: Path) -> None:
    assert len(list((searched.parent / "latents").glob("*/provenance.json"))) == 1
    assert len(list((searched.parent / "references").glob("*/provenance.json"))) == 1
    assert not (searched / "trials" / "latents").exists()


def test_mlflow_has_one_run_for_each_trial_below_the_sweep(searched: Path) -> None:
    record, trials = read_sweep(searched)
    client = MlflowClient(f"sqlite:///{searched.parent / 'mlflow.db'}")
    assert record.mlflow_run_id is not None
    assert client.get_run(record.mlflow_run_id).info.status == "FINISHED"
    for trial in trials.trials:
        assert trial.mlflow_run_id is not None
        run = client.get_run(trial.mlflow_run_id)
        assert run.data.tags["mlflow.parentRunId"] == record.mlflow_run_id
        assert run.data.tags["sweep.status"] == trial.status
        assert run.info.status == {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[trial.status]


def test_the_same_command_finds_it_finished(
    searched: Path, tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_trials(searched)
    with caplog.at_level(logging.INFO):
        sweep(tiny_sweep(tiny_folder, searched.parent, samples=6), SPACE)
    assert read_trials(searched) == before
    assert "run.max_concurrent, seed and stopping stay as they were when it began" in caplog.text


def test_a_collapse_is_a_result_and_the_grid_goes_on(cluster: None, tiny_folder: Path, tmp_path: Path) -> None:
    # Wild heads pull hard; by these limits, all others leave the student without a gradient.
    base = {"health.patience": 2, "health.min_student_gradient": 10.0}
    config = tiny_sweep(tiny_folder, tmp_path, grid=True, seeds=(0, 1), base=base)
    folder = sweep(config, {"discriminator.lr": [1e-3, 1.0]})
    trials = read_trials(folder).trials
    sick = [trial for trial in trials if trial.point["discriminator.lr"] == 1e-3]
    assert [trial.status for trial in sick] == ["collapsed"] * 2
    assert all((folder / trial.folder / "collapse.md").is_file() and trial.reason for trial in sick)
    assert [trial.status for trial in trials if trial not in sick] == ["done"] * 2
    assert len({trial.configuration for trial in trials}) == 2
    assert read_record(folder / "best.json", BestRecord).changes["discriminator.lr"] == 1.0


def test_a_trial_that_does_not_leave_its_process_fails_the_next_and_not_the_sweep(
    cluster: None, tiny_folder: Path, tmp_path: Path
) -> None:
    plan = prepare_sweep(one_at_once(tiny_sweep(tiny_folder, tmp_path, samples=3)), {"noise.renoise_mean": [-1.0, 0.0]})

    class Stuck(FunctionTrainable):
        def reset_config(self, new_config: dict[str, object]) -> bool:
            return False

    def scored(parameters: dict[str, object]) -> None:
        tune.report({"step": STEPS, "seconds": 1.0, "kid": 0.5})

    function = function_of_trials(partial(scored))
    function.__mixins__ += (Stuck,)  # type: ignore[attr-defined]
    journal = Journal(plan.folder, plan.config, Trainee(plan.standard.config, plan.num_blocks))
    tune.Tuner(
        tune.with_resources(function, {"cpu": 1}),
        param_space=param_space(plan),
        tune_config=tune_config(plan),
        run_config=tune.RunConfig(storage_path=str(plan.folder), callbacks=[journal], verbose=0),
    ).fit()
    first, second, third = read_trials(plan.folder).trials
    assert [trial.status for trial in (first, second, third)] == ["done", "failed", "done"]
    assert second.reason.startswith("TimeoutError: the trial before it in the same process did not leave")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_driver_goes_on_and_no_ended_trial_runs_again(tiny_folder: Path, tmp_path: Path) -> None:
    config = tiny_sweep(tiny_folder, tmp_path, grid=True, seeds=(0, 1, 2), base={"run.steps": 16})
    space = {"noise.renoise_mean": [-2.0, -1.0]}
    child = begin(config, space)
    try:
        folder = tmp_path / "sweep"
        wait_for(folder, child, ended=2)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    before = {trial.id: trial for trial in read_trials(folder).trials if trial.status != "running"}
    assert len(before) < 6
    written = {id_: (folder / trial.folder / "metrics.jsonl").stat().st_mtime for id_, trial in before.items()}
    assert begin(config, space).wait(timeout=10 * MINUTES) == 0
    record, trials = read_sweep(folder)
    assert record.ended is not None
    assert [trial.status for trial in trials.trials] == ["done"] * 6
    assert all(trial.scores[-1].step == 16 for trial in trials.trials)
    assert {(trial.point["noise.renoise_mean"], trial.seed) for trial in trials.trials} == {
        (mean, seed) for mean in (-2.0, -1.0) for seed in (0, 1, 2)
    }
    for trial in trials.trials:
        if trial.id in before:
            assert trial == before[trial.id]
            assert (folder / trial.folder / "metrics.jsonl").stat().st_mtime == written[trial.id]


def begin(config: SweepConfig, space: dict[str, object]) -> subprocess.Popen[bytes]:
    """A sweep in a process, and a group, of its own."""
    command = [sys.executable, "-c", CHILD, config.model_dump_json(), json.dumps(space)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


def wait_for(folder: Path, child: subprocess.Popen[bytes], *, ended: int) -> None:
    """Until so many trials have ended while another one is running."""
    deadline = time.monotonic() + 10 * MINUTES
    while time.monotonic() < deadline and child.poll() is None:
        statuses = [trial.status for trial in read_trials(folder).trials]
        if len(statuses) - statuses.count("running") >= ended and "running" in statuses:
            return
        time.sleep(0.1)
    raise AssertionError(f"the sweep did not get so far (exit code {child.returncode})")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_trials_on_workers_of_ray_train_are_scored_and_stopped(
    cluster: None, tiny_folder: Path, tmp_path: Path
) -> None:
    base = {"run.num_workers": 2, "run.engine": "deepspeed"}
    config = tiny_sweep(tiny_folder, tmp_path, samples=3, base=base)
    folder = sweep(config, {"noise.renoise_mean": {"uniform": [-2, 1]}})
    trials = read_trials(folder).trials
    assert {trial.status for trial in trials} <= {"done", "stopped"}
    assert len(trials) == 3
    for trial in trials:
        check_scores(trial, folder)
    assert any(trial.status == "done" for trial in trials)
