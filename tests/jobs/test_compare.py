"""The command line of the comparison: what it explains, what it refuses, what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import compare
from ladd_ray.compare_config import CompareConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LADD_RAY_HOME", str(tmp_path))

    def job(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["compare.py", *arguments])
        try:
            code = compare.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


def test_help_teaches(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for lesson in (
        "compare.py --dry-run",
        "methods,data,distillation,renoise",
        "--seconds",
        "trained once",
        "table.md",
    ):
        assert lesson in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--studies", "colours"), "invalid choice 'colours'"),
        (("--base", "student.lrr", "1"), "unknown setting 'student.lrr'"),
        (("--base", "run.steps", "1"), "sets run.steps itself"),
        (("--seconds", "0"), "greater than 0"),
        (("--teacher", "/nowhere"), "no model folder at /nowhere"),
        (("--teachr", "x"), "--teacher"),
    ],
)
def test_mistakes_end_with_code_2_and_name_the_cause(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_dry_run_prints_arms_and_time_and_leaves_nothing(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("--teacher", str(tiny_folder), "--studies", "methods", "--seeds", "0", "--dry-run")
    assert code == 0
    printed, plan = out.split("\n\n", maxsplit=1)
    assert CompareConfig.model_validate(json.loads(printed)).studies == ("methods",)
    assert (
        "ladd, add, lcm" in plan and "3 runs of 240 s on 1 thread each, 2 at once" in plan and "min of training" in plan
    )
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_gets_the_configuration_of_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[CompareConfig] = []
    monkeypatch.setattr(
        "ladd_ray.training.comparison.launch.compare", lambda config: started.append(config) or Path("there")
    )
    code, out, _ = run("--seeds", "4", "5", "--seconds", "30", "--base", "run.global_batch_size", "24")
    assert (code, out) == (0, "results in there\n")
    (config,) = started
    assert (config.seeds, config.seconds) == ((4, 5), 30.0)
    assert config.base == {"run.global_batch_size": "24"}
