"""The benchmarks of the endpoint: what they ask for, what they compare, and one run in small without Ray."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import serving_gpu, serving_stock
from benchmarks.serving_clients import Crowd
from benchmarks.serving_requests import SIZES, STEPS, Ask, ask, asks, tasks_of
from benchmarks.serving_stock import StockStudent
from benchmarks.serving_summary import summary, table
from serve.schemas import EditRequest, GenerateRequest
from tests.inference.models import export_tiny

TASKS = ("generate", "edit", "inpaint")


@pytest.mark.parametrize("knows_tasks", [False, True])
def test_students_are_asked_for_what_they_can_do(tiny_folder: Path, tmp_path: Path, *, knows_tasks: bool) -> None:
    folder = export_tiny(tiny_folder, tmp_path / "x") if knows_tasks else tiny_folder
    assert tasks_of(folder) == (TASKS if knows_tasks else ("generate",))


def test_every_kind_is_asked_for_equally_often_and_no_prompt_twice() -> None:
    kinds = len(TASKS) * len(SIZES) * len(STEPS)
    found = list(itertools.islice(asks(TASKS), 3 * kinds))
    assert set(Counter(each.kind for each in found).values()) == {3}
    assert len({each.prompt for each in found}) == len(found)
    again = itertools.islice(asks(TASKS), 3 * kinds)
    assert [each.body() for each in found] == [each.body() for each in again]


@pytest.mark.parametrize("task", TASKS)
def test_our_endpoint_and_the_stock_one_understand_the_same_body(task: str) -> None:
    sent = ask(task, "a cat", width=64, height=96, steps=2, seed=3)  # type: ignore[arg-type]
    body = sent.body()
    (GenerateRequest if task == "generate" else EditRequest).model_validate(json.loads(json.dumps(body)))
    understood = serving_stock._ask(body)
    assert understood.kind == sent.kind
    assert (understood.prompt, understood.seed) == ("a cat", 3)
    for theirs, ours in ((understood.image, sent.image), (understood.hole, sent.hole)):
        assert (theirs is None) == (ours is None)
        assert ours is None or np.array_equal(theirs, ours)


@pytest.fixture(scope="module")
def stock(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> StockStudent:
    return StockStudent(str(export_tiny(tiny_folder, tmp_path_factory.mktemp("exports") / "x")))


@pytest.mark.parametrize("task", TASKS)
def test_stock_pipelines_draw_what_they_are_asked_for(stock: StockStudent, task: str) -> None:
    batch = [ask(task, prompt, width=96, steps=2, seed=1) for prompt in ("a cat", "a dog")]  # type: ignore[arg-type]
    pictures = stock.draw(batch)
    assert [picture.size for picture in pictures] == [(96, 64)] * 2
    assert not np.array_equal(*(np.asarray(picture) for picture in pictures))


def test_a_batch_of_all_kinds_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def draw(batch: list[Ask]) -> list[int]:
        calls.append(len(batch))
        return [each.seed for each in batch]

    model = object.__new__(serving_stock.BatchedModel)
    monkeypatch.setattr(model, "_student", type("Student", (), {"draw": staticmethod(draw)}), raising=False)
    batch = [ask("generate", "a cat", steps=steps, seed=seed) for seed, steps in enumerate((1, 2, 1, 4, 1))]
    assert model._draw(batch) == [0, 1, 2, 3, 4]  # type: ignore[comparison-overlap]
    assert calls == [3, 1, 1]


def crowd(seconds: float, latency_s: float) -> Crowd:
    return Crowd(seconds, [latency_s] * 10)


def test_ratios_are_those_within_rounds() -> None:
    # The second round was taken on a machine half as fast: neither ratio changes.
    loads = {
        "ours": [crowd(1.0, 0.1), crowd(2.0, 0.2)],
        "single": [crowd(3.0, 0.4), crowd(6.0, 0.8)],
        "batched": [crowd(1.0, 0.1), crowd(2.0, 0.2)],
    }
    found = summary(
        loads, {"64 px, 1 step": [{"ours": ours, "single": 0.2, "stock": 0.1} for ours in (0.11, 0.3, 0.1)]}
    )
    ratios = found["ratios"]
    assert ratios["images/s, ours / single"] == pytest.approx({"median": 3.0, "least": 3.0, "most": 3.0, "met": True})
    assert not ratios["images/s, ours / batched"]["met"]
    assert ratios["p95, ours / single"]["median"] == pytest.approx(0.25)
    assert ratios["lone, ours / stock, 64 px, 1 step"]["median"] == pytest.approx(1.1)
    assert ratios["lone, ours / single, 64 px, 1 step"]["median"] == pytest.approx(0.55)
    assert found["load"]["single"]["images_per_s"] == pytest.approx(2.5)
    assert "| images/s, ours / single | 3.00 | 3.00 to 3.00 | yes |" in table(found)


@pytest.mark.slow
def test_the_gpu_benchmark_runs_in_small(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    serving_gpu.main(["--device", "cpu", "--tiny", "--output", str(output)])
    sections = {section["name"]: section["outcomes"] for section in json.loads(output.read_text())["sections"]}
    assert list(sections) == ["tiny", "text", "file"]
    outcomes = [outcome for section in sections.values() for outcome in section]
    assert [outcome["status"] for outcome in outcomes] == ["ok"] * len(outcomes), outcomes
    names = [outcome["name"] for outcome in sections["tiny"]]
    assert [name for name in names if name.endswith("compiled")] == [f"{name}, compiled" for name in names[:4]]
    for outcome in (*sections["tiny"][:4], *sections["tiny"][5:]):
        row = outcome["row"]
        parts = [row[f"4-step {part} ms"] for part in ("begin", "steps", "decode")]
        assert row["4-step ms"] == pytest.approx(sum(parts))
