"""Shares by picture size: which rows and numbers there are, and what the square is."""

from typing import Any

from ladd_ray.evaluation.size_table import size_table


def share(value: float) -> dict[str, float]:
    return {"value": value, "half_width": 0.05}


def shares(**values: float) -> dict[str, dict[str, float]]:
    return {name.removeprefix("size_"): share(value) for name, value in values.items()}


def document(sizes: list[list[int]], **rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol": {"sizes": sizes},
        "labels": {name: f"the {name}" for name in rows},
        "scores": {name: {"judge": {"by_size": found}} for name, found in rows.items()},
    }


FRAMES = [[64, 96], [64, 64], [64, 96]]
STUDENT = shares(size_64x64=0.8, size_64x96=0.6)


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_size_has_a_column_and_the_worst_is_measured_at_the_square() -> None:
    assert rows(size_table({"now": document(FRAMES, student=STUDENT)})) == [
        ["sampler", "task", "64 x 96", "64 x 64", "worst / 64 x 64"],
        ["the student", "generate", "0.600 +- 0.050", "0.800 +- 0.050", "0.75"],
    ]


def test_tasks_follow_each_other_and_equal_rows_come_once() -> None:
    edits = {"labels": {"student": "the student"}, "scores": {"student": {"edit": {"by_size": STUDENT}}}}
    now = document(FRAMES, student=STUDENT) | {"tasks": {"edit": edits}}
    then = document(FRAMES, student=STUDENT, other=shares(size_64x64=0.0, size_64x96=0.0))
    found = [row[:2] + row[-1:] for row in rows(size_table({"now": now, "then": then}))[1:]]
    assert [" ".join(row) for row in found] == [
        "the student generate 0.75", "the other generate -", "the student edit 0.75",
    ]  # fmt: skip


def test_one_size_needs_no_table_and_older_results_have_no_rows() -> None:
    assert size_table({"now": document([[64, 64]], student=STUDENT)}) == ""
    older = document(FRAMES) | {"labels": {"real": "real"}, "scores": {"real": {"judge": {"overall": 1.0}}}}
    assert len(rows(size_table({"now": document(FRAMES, student=STUDENT), "old": older}))) == 2
