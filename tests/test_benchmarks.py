"""The benchmarks: their arithmetic, their patience with failures, and one run of everything in small."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import (
    REUSING_FORWARDS,
    SEPARATE_FORWARDS,
    forwards_per_step,
    num_image_tokens,
    transformer_flops,
)
from benchmarks.report import to_markdown
from benchmarks.sections import (
    Case,
    Outcome,
    Row,
    Section,
    SectionResult,
    SkippedError,
    run_case,
    run_section,
)
from benchmarks.workload import Clock
from ladd_ray.models.folder import random_transformer
from ladd_ray.models.sd3 import SD3Denoiser

ROOT = Path(__file__).resolve().parents[1]
TEXT_TOKENS = 77 + 256
KNOWN_TFLOP = {
    ("sd3-medium", 512): 2.11,
    ("sd3-medium", 1024): 8.90,
    ("sd3.5-large", 512): 7.98,
    ("sd3.5-large", 1024): 31.12,
}


@pytest.fixture(scope="module")
def denoisers() -> dict[str, SD3Denoiser]:
    """Without weights: sizes are all that counting needs."""
    return {name: SD3Denoiser(random_transformer(name, device="meta")) for name in ("sd3-medium", "sd3.5-large")}


def formula(denoiser: SD3Denoiser, pixels: int) -> float:
    flops = transformer_flops(
        width=denoiser.hidden_size,
        num_blocks=denoiser.num_blocks,
        image_tokens=num_image_tokens(pixels),
        text_tokens=TEXT_TOKENS,
    )
    return flops / 1e12


def counted(denoiser: SD3Denoiser, pixels: int) -> float:
    side = pixels // 8
    shapes = (1, 16, side, side), (1,), (1, TEXT_TOKENS, denoiser.prompt_size), (1, denoiser.pooled_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(*(torch.empty(shape, device="meta") for shape in shapes))
    return counter.get_total_flops() / 1e12


@pytest.mark.parametrize(("name", "pixels"), KNOWN_TFLOP)
def test_formula_gives_the_known_numbers(denoisers: dict[str, SD3Denoiser], name: str, pixels: int) -> None:
    assert formula(denoisers[name], pixels) == pytest.approx(KNOWN_TFLOP[name, pixels], rel=5e-3)


@pytest.mark.parametrize("pixels", [512, 1024])
def test_formula_agrees_with_torchs_counter(denoisers: dict[str, SD3Denoiser], pixels: int) -> None:
    denoiser = denoisers["sd3-medium"]
    assert counted(denoiser, pixels) == pytest.approx(KNOWN_TFLOP["sd3-medium", pixels], abs=0.006)
    assert formula(denoiser, pixels) == pytest.approx(counted(denoiser, pixels), rel=3e-3)


def test_forwards_of_a_step() -> None:
    assert forwards_per_step(REUSING_FORWARDS, recompute=False) == 3 + 2 + 1
    assert forwards_per_step(SEPARATE_FORWARDS, recompute=False) == 3 + 2 + 1 + 1 + 1
    assert forwards_per_step(REUSING_FORWARDS, recompute=True) == 8


def test_odd_pictures_are_refused() -> None:
    assert num_image_tokens(512) == 1024
    with pytest.raises(ValueError, match="multiple of 16"):
        num_image_tokens(500)


def test_a_failure_is_a_result() -> None:
    def fail() -> Row:
        raise RuntimeError("no such kernel")

    outcome = run_case(Case("broken", fail), seconds=5)
    assert (outcome.status, outcome.reason, outcome.row) == ("failed", "RuntimeError: no such kernel", {})


def test_a_skip_says_why() -> None:
    def skip() -> Row:
        raise SkippedError("DeepSpeed cannot be imported")

    outcome = run_case(Case("engine", skip), seconds=5)
    assert (outcome.status, outcome.reason) == ("skipped", "DeepSpeed cannot be imported")


def test_a_slow_case_is_stopped_even_if_it_catches_exceptions() -> None:
    def stubborn() -> Row:
        while True:
            try:
                time.sleep(5)
            except Exception:  # noqa: BLE001 - what libraries do that recover from everything
                continue

    start = time.monotonic()
    outcome = run_case(Case("slow", stubborn), seconds=0.1)
    assert outcome.status == "out of time"
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(("deadline_in", "budget_s"), [(1000.0, 0.2), (0.2, 1000.0)])
def test_the_rest_goes_on_until_the_time_is_over(deadline_in: float, budget_s: float) -> None:
    def sleep() -> Row:
        time.sleep(5)
        return {}

    def fail() -> Row:
        raise ValueError("broken")

    heard: list[Outcome] = []
    cases = [Case("a", fail), Case("b", lambda: {"x": 1}), Case("c", sleep), Case("d", lambda: {"x": 2})]
    result = run_section(
        Section("part", "title", cases, budget_s),
        deadline=time.monotonic() + deadline_in,
        after_case=lambda _, outcome: heard.append(outcome),
    )
    assert [outcome.status for outcome in result.outcomes] == ["failed", "ok", "out of time", "out of time"]
    assert heard == result.outcomes
    assert result.outcomes[1].row == {"x": 1}


def test_markdown_has_all_columns_and_reasons() -> None:
    outcomes = [
        Outcome("a", "ok", 1.5, row={"step ms": 1234.5678, "agrees": True}),
        Outcome("b", "failed", 0.25, reason="RuntimeError: no"),
        Outcome("c", "ok", 2.0, row={"peak GiB": None, "agrees": False}),
    ]
    text = to_markdown({"device": "X", "torch": "1"}, [SectionResult("part", "What it shows.", outcomes)])
    assert "| case | status | seconds | step ms | agrees | peak GiB |" in text
    assert "| a | ok | 1.5 | 1235 | yes |  |" in text
    assert "| c | ok | 2 |  | no |  |" in text
    assert "- b: RuntimeError: no" in text


def test_clock_splits_a_step() -> None:
    clock = Clock(torch.device("cpu"))
    time.sleep(0.02)
    clock.mark("long")
    clock.mark("short")
    seconds = clock.seconds()
    assert list(seconds) == ["long", "short"]
    assert seconds["long"] >= 0.02 > seconds["short"]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Cases of each section, from a process of its own: engines leave a process group behind."""
    output = tmp_path_factory.mktemp("benchmarks") / "results.json"
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=500)
    assert output.with_suffix(".md").read_text().startswith("# Benchmarks on ")
    sections = json.loads(output.read_text())["sections"]
    return {section["name"]: section["outcomes"] for section in sections}


@pytest.mark.slow
def test_everything_runs_in_small(small_run: dict[str, list[dict[str, Any]]]) -> None:
    assert {name: len(cases) for name, cases in small_run.items()} == {"engines": 8, "step": 2, "compile": 1}
    for cases in small_run.values():
        assert [case["status"] for case in cases] == ["ok"] * len(cases), cases
    for case in small_run["step"]:
        row = case["row"]
        assert row["images/s"] == pytest.approx(1000 * row["micro batch"] / row["step ms"])
        phases = [row[f"{phase} ms"] for phase in ("draw", "generate", "judge", "heads_turn", "student_turn")]
        assert min(phases) > 0
    plain, recomputed = (case["row"] for case in small_run["step"])
    assert plain["8F: TFLOP"] / plain["6F: TFLOP"] == pytest.approx(8 / 6)
    assert recomputed["8F: TFLOP"] / recomputed["6F: TFLOP"] == pytest.approx(10 / 8)


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["replicated", "sharded"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_engines_agree(small_run: dict[str, list[dict[str, Any]]], stage: int, teacher: str) -> None:
    (row,) = (case["row"] for case in small_run["engines"] if case["name"] == f"ZeRO-{stage}, teacher {teacher}")
    assert row["agrees"], row
