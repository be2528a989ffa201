"""The command line of the evaluation job: what it explains, what it refuses, what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import evaluate
from ladd_ray.evaluate_config import EvaluateConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")

    def job(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
        try:
            code = evaluate.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


def test_help_teaches(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for lesson in ("evaluate.py runs/stickers", "shuffled prompts", "MODELS", "--num-images", "nothing is fetched"):
        assert lesson in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no model to score"),
        (("/nowhere",), "no model folder at /nowhere"),
        (("stickers", "--reference", "/nowhere"), "no reference at /nowhere"),
        (("stickers", "--prompts", "/nowhere"), "no prompt file at /nowhere"),
        (("stickers", "--scores", "beauty"), "beauty"),
        (("stickers", "--num-images", "many"), "many"),
        (("stickers", "--compare-with", "/nowhere"), "holds no results.json"),
        (("stickers", "--clip.weights", "/nowhere"), "pip install 'ladd-ray[clip]'"),
    ],
)
def test_mistakes_end_with_code_2_and_name_the_cause(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("LADD_RAY_HOME", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    code, _, err = run(*arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_dry_run_prints_the_configuration_and_draws_nothing(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    code, out, _ = run(str(tiny_folder), "--num-images", "32", "--output", str(output), "--dry-run")
    assert code == 0
    printed, plan = out.split("\n\n", maxsplit=1)
    config = EvaluateConfig.model_validate(json.loads(printed))
    assert (config.models, config.num_images) == ((str(tiny_folder),), 32)
    assert "28 steps, guidance 3" in plan and "untrained" in plan
    assert not output.exists()


def test_an_evaluation_gets_the_configuration_of_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[EvaluateConfig] = []
    monkeypatch.setattr(
        "ladd_ray.training.evaluation.job.evaluate_models", lambda config: started.append(config) or Path("there")
    )
    arguments = ("--student.steps", "1", "2", "--sizes", "64", "64", "64", "96", "--scores", "kid", "judge")
    code, out, _ = run("runs/a", "runs/b", *arguments)
    assert (code, out) == (0, "results in there\n")
    (config,) = started
    assert config.models == ("runs/a", "runs/b")
    assert (config.student.steps, config.sizes) == ((1, 2), ((64, 64), (64, 96)))
    assert config.scores == ("kid", "judge")
