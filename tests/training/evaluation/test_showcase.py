"""A showcase of tiny models: sheets, marks by the judge, and a table that counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ladd_ray.config import override
from ladd_ray.data.stickers import render
from ladd_ray.evaluate_config import ShowcaseConfig
from ladd_ray.evaluation.contact_sheet import Section, contact_sheet
from ladd_ray.training.evaluation import showcase
from ladd_ray.training.evaluation.exhibits import GALLERIES
from ladd_ray.training.evaluation.showcase import draw_showcase
from ladd_ray.training.painting import Contender, Crew, Picture, Sample

SMALL = {"count": 2, "shown": 3, "teacher.num_inference_steps": 1, "student.steps": (1,)}


def configured(model: Path, output: Path) -> ShowcaseConfig:
    return override(ShowcaseConfig(model=str(model), output=str(output)), SMALL)


def counts(table: str) -> list[tuple[str, str, str]]:
    """Kind, right, of."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(kind, right, of) for kind, right, of, _ in lines if kind != "kind"]


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[bool | None]]:
    """Which marks each sheet holds; a compressed picture does not keep their colours exactly."""
    found: dict[str, set[bool | None]] = {}

    def record(sections: Sequence[Section], path: Path) -> None:
        found[path.name] = {cell.right for section in sections for row in section.rows for cell in row.cells}
        contact_sheet(sections, path)

    monkeypatch.setattr(showcase, "contact_sheet", record)
    return found


def test_a_model_of_three_tasks_fills_three_sheets(
    wide_folder: Path, tmp_path: Path, marks: dict[str, set[bool | None]]
) -> None:
    output = draw_showcase(configured(wide_folder, tmp_path / "sheets"))
    assert {path.name for path in output.iterdir()} == {"generate.webp", "edits.webp", "fills.webp", "table.md"}
    found = counts((output / "table.md").read_text())
    assert len(found) == sum(len(gallery.rooms(0, 1)) + 1 for gallery in GALLERIES.values())
    assert {of for kind, _, of in found if kind != "all"} == {"2"}
    assert marks["edits.webp"] == {False}


def test_a_student_that_only_generates_has_one_sheet(run_folder: Path, tmp_path: Path) -> None:
    output = draw_showcase(configured(run_folder, tmp_path / "sheets"))
    assert {path.name for path in output.iterdir()} == {"generate.webp", "table.md"}
    assert "my-run, 1 step" in (output / "table.md").read_text()


def test_right_pictures_are_ticked_and_counted(
    wide_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: dict[str, set[bool | None]]
) -> None:
    """A model that draws what it should, but for the first picture of each task."""
    exact = {
        (exhibit.sample.prompt, exhibit.sample.number): render(exhibit.target)
        for gallery in GALLERIES.values()
        for room in gallery.rooms(0, 2).values()
        for exhibit in room
    }

    def perfect(
        contenders: Sequence[Contender], samples: Sequence[Sample], *, crew: Crew
    ) -> Iterator[tuple[Contender, list[Picture]]]:
        pictures = [exact[sample.prompt, sample.number] for sample in samples]
        yield contenders[0], [np.zeros_like(pictures[0]), *pictures[1:]]

    monkeypatch.setattr(showcase, "paint", perfect)
    monkeypatch.setattr(showcase, "GALLERIES", {task: GALLERIES[task] for task in ("edit", "inpaint")})
    output = draw_showcase(configured(wide_folder, tmp_path / "sheets"))
    found = {kind: right for kind, right, _ in counts((output / "table.md").read_text())}
    assert found.pop("background") == found.pop("box") == "1"
    assert found.pop("all") == "7"
    assert set(found.values()) == {"2"}
    assert marks["edits.webp"] == {True, False}


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model folder"):
        draw_showcase(configured(tmp_path / "nowhere", tmp_path / "sheets"))
