"""The command line of the distillation job: what it explains, what it refuses, what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import distill
from ladd_ray.config import Config
from ladd_ray.recipes import RECIPES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")  # wide enough for paths, too narrow for two columns of help

    def job(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["distill.py", *arguments])
        try:
            code = distill.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> tuple[str, ...]:
    """Arguments of a run that could start."""
    return (
        "stickers",
        *("--teacher.path", str(tiny_folder)),
        *("--run.directory", str(tmp_path / "runs")),
        *("--data.num-latents", "48"),
    )


def test_help_names_every_recipe(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in RECIPES)
    assert "The same command continues a run that was stopped" in out


def test_help_of_a_recipe_explains_settings_and_shows_its_values(run: Run) -> None:
    code, out, _ = run("sd35_large", "--help")
    assert code == 0
    assert "--student.lr" in out
    assert "Billions of parameters want 1e-6 to 5e-6" in " ".join(out.replace("│", " ").split())
    assert "stabilityai/stable-diffusion-3.5-large" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sticker",), "sticker"),
        (("stickers", "--student.learning-rate", "1"), "--student.learning-rate"),
        (("stickers", "--student.lr", "fast"), "fast"),
        (("stickers", "--student.lr", "-1"), "greater than 0"),
        (("stickers", "--run.num-workers", "5"), "cannot be shared out evenly to 5 workers"),
        (("stickers", "--data.guidance-scale", "1"), "set data.allow_unguided"),
        (("stickers", "--teacher.path", "/nowhere"), "no model folder at /nowhere"),
    ],
    ids=["recipe", "field", "type", "range", "workers", "unguided", "teacher"],
)
def test_mistakes_end_with_code_2_and_name_the_cause(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_dry_run_prints_the_configuration_and_starts_nothing(run: Run, tiny: tuple[str, ...], tmp_path: Path) -> None:
    code, out, _ = run(*tiny, "--student.lr", "3e-4", "--run.name", "dry", "--dry-run")
    assert code == 0
    printed, plan = out.split("\n\n", maxsplit=1)
    config = Config.model_validate(json.loads(printed))
    assert config.student.lr == 3e-4
    assert config.run_directory == tmp_path / "runs" / "dry"
    assert "draw 48 at guidance 3" in plan
    assert not (tmp_path / "runs").exists()


def test_a_run_gets_the_configuration_of_the_command_line(
    run: Run, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Config] = []

    class Folder:
        path = tmp_path / "runs" / "stickers"

    monkeypatch.setattr("ladd_ray.training.launch.run", lambda config: started.append(config) or Folder())
    code, out, _ = run(*tiny, "--run.num-workers", "4", "--evaluation.student-steps", "1", "4")
    assert code == 0
    assert out == f"results in {tmp_path / 'runs' / 'stickers'}\n"
    (config,) = started
    assert (config.run.num_workers, config.evaluation.student_steps) == (4, (1, 4))
    assert config.discriminator == RECIPES["stickers"]().discriminator
