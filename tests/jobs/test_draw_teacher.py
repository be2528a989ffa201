"""The job that draws sheets of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import draw_teacher
from ladd_ray.evaluate_config import ShowcaseConfig


def test_the_command_line_reaches_the_sheets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[ShowcaseConfig] = []
    monkeypatch.setattr(
        "ladd_ray.training.evaluation.showcase.draw_showcase", lambda config: asked.append(config) or Path("there")
    )
    monkeypatch.setattr(
        "sys.argv", ["draw_teacher.py", "--model", "runs/a", "--count", "9", "--teacher.guidance-scale", "4"]
    )
    assert draw_teacher.main() == 0
    (config,) = asked
    assert (config.model, config.count, config.teacher.guidance_scale) == ("runs/a", 9, 4.0)
    assert capsys.readouterr().out == "sheets in there\n"


def test_a_missing_model_ends_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["draw_teacher.py", "--model", "/nowhere"])
    assert draw_teacher.main() == 2
    assert "no model folder at /nowhere" in capsys.readouterr().err
