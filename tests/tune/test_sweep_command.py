"""The command line of a sweep: what it explains, what it refuses before a cluster starts, and its plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_records import SweepRecord, read_record
from ladd_ray.training.sweeping.launch import alone
from ladd_ray.training.sweeping.launch import sweep as run_sweep
from ladd_ray.training.sweeping.plan import claim, prepare_sweep
from tests.tune.sweeps import tiny_sweep
from tune import sweep
from tune.spaces import HEADS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "120")

    def job(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sweep.py", *arguments])
        try:
            code = sweep.main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert not ray.is_initialized()
        return code, *capsys.readouterr()

    return job


def test_help_teaches(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in ("--space", "--samples", "--grid", "--base", "best.json", "ray job submit", "never losses"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("stickers", "--space", "nose"), "no space and no file named nose"),
        (("sticker",), "did you mean stickers"),
        (("stickers", "--base", "student.learning_rate", "1"), "unknown setting"),
        (("stickers", "--base", "run.name", "x"), "a sweep sets run.name itself"),
        (("stickers", "--base", "noise.renoise_std", "-1"), "greater than 0"),
        (("stickers", "--seeds", "0", "1"), "or set grid"),
        (("stickers", "--grid", "--seeds", "0", "0"), "must be distinct"),
        (("stickers", "--score-every", "500"), "exceeds the 200 steps"),
        (("stickers", "--score-every", "20", "--stopping.first-rung", "30"), "multiple of score_every"),
    ],
)
def test_mistakes_end_with_the_fix(run: Run, arguments: tuple[str, ...], complaint: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert complaint in " ".join((out + err).replace("│", " ").split())


def test_an_unknown_field_of_the_users_space_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"discriminator.with": [32, 64]}))
    code, _, err = run("stickers", "--space", str(file), "--run.directory", str(tmp_path / "runs"))
    assert code == 2
    assert "did you mean discriminator.width" in err
    assert not (tmp_path / "runs").exists()


def test_dry_run_shows_the_plan_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(
        *("stickers", "--space", "heads", "--grid", "--seeds", "0", "1", "2", "--dry-run"),
        *("--base", "run.num-workers", "0", "run.engine", "local", "--run.directory", str(tmp_path / "runs")),
    )
    assert code == 0
    assert "trials    36, each 200 steps of 48 on no workers; seeds 0, 1, 2" in out
    assert "all, half, last" in out
    assert not (tmp_path / "runs").exists()


def test_rungs_grow_by_the_factor_and_a_grid_has_none() -> None:
    search = SweepConfig(recipe="stickers", base={"run.steps": "80"})
    assert (search.scored_at, search.rungs) == (tuple(range(10, 81, 10)), (10, 20, 40))
    assert search.model_copy(update={"grid": True}).rungs == ()
    uneven = SweepConfig(recipe="stickers", base={"run.steps": "50"}, score_every=20)
    assert (uneven.scored_at, uneven.rungs) == ((20, 40, 50), (20, 40))


def test_a_name_belongs_to_one_sweep(tiny_folder: Path, tmp_path: Path) -> None:
    claim(prepare_sweep(tiny_sweep(tiny_folder, tmp_path), HEADS), mlflow_run_id="abc")
    begun = read_record(tmp_path / "sweep" / "sweep.json", SweepRecord)
    claim(prepare_sweep(tiny_sweep(tiny_folder, tmp_path), HEADS), mlflow_run_id=None)
    again = read_record(tmp_path / "sweep" / "sweep.json", SweepRecord)
    assert (again.mlflow_run_id, again.started) == ("abc", begun.started)
    with pytest.raises(ValueError, match=r"belongs to another sweep:\n  num_trials: 8 there, 9 now"):
        prepare_sweep(tiny_sweep(tiny_folder, tmp_path, samples=9), HEADS)


def test_a_second_driver_of_a_sweep_is_refused_at_once(tiny_folder: Path, tmp_path: Path) -> None:
    config = tiny_sweep(tiny_folder, tmp_path)
    for _ in range(2):
        with alone(tmp_path / "sweep"), pytest.raises(ValueError, match=r"another process runs the sweep in .*/sweep:"):
            run_sweep(config, HEADS)
    assert not ray.is_initialized()
    assert not (tmp_path / "sweep" / "sweep.json").exists()


def test_blocks_that_the_teacher_does_not_have_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    config = tiny_sweep(tiny_folder, tmp_path)
    prepare_sweep(config, {"discriminator.tapped_blocks": ["all", [0, 1]]})
    with pytest.raises(ValueError, match=r"\[0, 2\] goes beyond the teacher's 2 blocks: use 0\.\.1"):
        prepare_sweep(config, {"discriminator.tapped_blocks": ["all", [0, 1], [0, 2]]})


def test_the_judge_scores_the_embedded_world_only(tiny_folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n")
    config = tiny_sweep(tiny_folder, tmp_path, metric="judge", base={"data.heldout_prompts": str(prompts)})
    with pytest.raises(ValueError, match="set it to kid for your own prompts"):
        prepare_sweep(config, HEADS)
