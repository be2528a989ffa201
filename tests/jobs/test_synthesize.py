"""The command line of the synthesis job: the set that the distillation of the same arguments trains on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import distill, synthesize
from ladd_ray.config import Config
from ladd_ray.recipes import RECIPES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")

    def job(*arguments: str, main: Callable[[], int] = synthesize.main) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["job.py", *arguments])
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> tuple[str, ...]:
    """Arguments of a small set, drawn in this process."""
    settings = {
        "teacher.path": tiny_folder,
        "run.directory": tmp_path / "runs",
        "run.num-workers": 0,
        "run.engine": "local",
        "data.num-latents": 48,
        "data.num-inference-steps": 1,
    }
    return "stickers", *(str(part) for name, value in settings.items() for part in (f"--{name}", value))


def test_help_names_every_recipe_and_says_that_it_goes_on(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in RECIPES)
    assert "goes on where a killed one stopped" in " ".join(out.split())


def test_both_jobs_take_the_same_arguments_for_the_same_set(run: Run, tiny: tuple[str, ...]) -> None:
    changes = (*tiny, "--data.guidance-range", "2", "5", "--data.buckets", "64", "64", "64", "96", "--dry-run")
    plans = []
    for main in (synthesize.main, distill.main):
        code, out, _ = run(*changes, main=main)
        assert code == 0
        printed, plan = out.split("\n\n", maxsplit=1)
        assert Config.model_validate(json.loads(printed)).data.guidance_range == (2.0, 5.0)
        plans.append(plan)
    assert plans[0] == plans[1]
    assert "draw 48 at guidance 2 to 5, 1 steps" in plans[0]


def test_what_was_drawn_is_reused(run: Run, tiny: tuple[str, ...], tmp_path: Path) -> None:
    code, out, _ = run(*tiny)
    assert code == 0
    assert "48 rows (48 generate)" in out
    (sheet,) = (tmp_path / "runs" / "latents").glob("*.png")
    assert str(sheet) in out
    code, out, _ = run(*tiny, "--dry-run", main=distill.main)
    assert f"reuse 48 at guidance 3, 1 steps: {sheet.with_suffix('')}" in out
    assert "none drawn now" in run(*tiny)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data.guidance-range", "5", "2"), "a smaller number and a larger one"),
        (("--data.tasks.edit", "0.5"), "only generates"),
        (("--data.prompts", "/nowhere.txt"), "no prompt file at /nowhere.txt"),
    ],
)
def test_mistakes_end_with_code_2_and_name_the_cause(
    run: Run, tiny: tuple[str, ...], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run(*tiny, *arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
