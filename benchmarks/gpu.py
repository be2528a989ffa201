"""Measure LADD training on one GPU in one call of under nine minutes.

    python benchmarks/gpu.py --output results.json
    python benchmarks/gpu.py --device cpu --tiny --output /tmp/results.json    # the same in small, anywhere

Writes the results after every case, as JSON and beside it as Markdown. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.engines import EngineTable
from benchmarks.report import describe_machine, to_markdown, write_results
from benchmarks.sections import Outcome, Section, SectionResult, run_section
from benchmarks.throughput import PEAK_TFLOPS, Setting, Throughput
from benchmarks.workload import MakeTransformer, embedded_shape, released_shape
from ladd_ray.recipes import sd3_medium

SECTIONS = ("engines", "step", "compile")
GRACE_S = 15
"""Seconds past the deadline after which a call that hangs inside a library is ended."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    engine_transformer: MakeTransformer
    engine_pixels: int
    step_transformer: MakeTransformer
    step_settings: Sequence[Setting]
    compile_settings: Sequence[Setting]
    text_tokens: int
    compile_backend: str


FULL = Scale(
    engine_transformer=embedded_shape(4),
    engine_pixels=128,
    step_transformer=released_shape("sd3-medium"),
    step_settings=(
        Setting(512, (16, 8, 4, 2)),
        Setting(1024, (6, 4, 2)),
        Setting(512, (32, 16, 8, 4), recompute=True),
        Setting(1024, (12, 8, 4, 2), recompute=True),
    ),
    compile_settings=(Setting(512, (16, 8, 4, 2)), Setting(1024, (4, 2))),
    text_tokens=77 + 256,
    compile_backend="inductor",
)
"""The 2B recipe, with the prompts of the stock pipeline: 77 CLIP and 256 T5 tokens."""

TINY = Scale(
    engine_transformer=embedded_shape(2),
    engine_pixels=64,
    step_transformer=embedded_shape(2),
    step_settings=(Setting(32, (2,)), Setting(64, (2,), recompute=True)),
    compile_settings=(Setting(32, (2,)),),
    text_tokens=5,
    compile_backend="eager",
)
"""Checks that every line runs; its numbers mean nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the sections that the command line asks for."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + options.deadline_s
    faulthandler.dump_traceback_later(options.deadline_s + GRACE_S, exit=True)
    device = torch.device(options.device)
    machine = describe_machine(device)
    done: list[SectionResult] = []

    def save(running: SectionResult, outcome: Outcome) -> None:
        print(f"[{running.name}] {outcome.name}: {outcome.status}", outcome.reason or outcome.row, flush=True)
        write_results(options.output, machine, [*done, running])

    for section in plan(TINY if options.tiny else FULL, device):
        if section.name in options.sections:
            result = run_section(section, deadline=deadline, after_case=save)
            done.append(result)
    faulthandler.cancel_dump_traceback_later()
    print(to_markdown(machine, done))


def plan(scale: Scale, device: torch.device) -> list[Section]:
    """All sections with their shares of the time; the last one may take what is left."""
    engines = EngineTable(scale.engine_transformer, device, scale.engine_pixels, scale.text_tokens)
    throughput = Throughput(
        scale.step_transformer,
        sd3_medium(),
        device,
        scale.text_tokens,
        compile_backend=scale.compile_backend,
    )
    return [
        Section(
            "engines",
            "A few LADD steps in bf16 under DeepSpeed against the local engine, in one process: two ranks "
            "cannot share a GPU. Update ratio: how far the student moved, with the local engine's as 1.",
            engines.cases(),
            budget_s=150,
        ),
        Section(
            "step",
            "Medians of the whole LADD step, noise drawing and optimizers included; random weights, local "
            "engine. 6F: the forwards that run; 8F: those of separate passes; recomputation adds 2F to both. "
            f"The heads are timed but not counted. Peak: {PEAK_TFLOPS:.0f} TFLOP/s.",
            throughput.step_cases(scale.step_settings),
            budget_s=220,
        ),
        Section(
            "compile",
            "The same step with torch.compile on the frozen features, in turns with the plain one.",
            throughput.compile_cases(scale.compile_settings),
            budget_s=float("inf"),
        ),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to check that everything runs")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--deadline-s", type=float, default=520, help="seconds after which nothing goes on")
    return parser


if __name__ == "__main__":
    main()
