"""The job that draws the embedded world."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from jobs import draw_world


def test_it_writes_the_picture_it_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "world.png"
    monkeypatch.setattr("sys.argv", ["draw_world.py", "--output", str(path)])
    draw_world.main()
    assert capsys.readouterr().out == f"{path}\n"
    with Image.open(path) as sheet:
        assert sheet.width > 1000 and sheet.height > 2000


def test_the_command_line_reaches_the_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(draw_world, "world_sheet", lambda path, *, seed: asked.append((path, seed)))
    monkeypatch.setattr("sys.argv", ["draw_world.py", "--seed", "7"])
    draw_world.main()
    assert asked == [(Path("docs/world.png"), 7)]
