"""How fast does one GPU answer, and where does the time go? Random weights in the shapes of the released models.

    python benchmarks/serving_gpu.py --output serving-gpu.json
    python benchmarks/serving_gpu.py --device cpu --tiny --output /tmp/serving-gpu.json    # the same in small, anywhere

Each case draws with our own code (``begin``, ``advance``, ``pictures``) without Ray or HTTP: one request, or 16 at
once, of one and of four steps. The text towers, which a cached prompt does not need, and the files, which are packed on
a CPU while the GPU goes on, are measured apart. Ideal: arithmetic at 790 TFLOP/s, one request, its prompt cached.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image

from benchmarks.report import describe_machine, to_markdown, write_results
from benchmarks.sections import Case, Outcome, Row, Section, SectionResult, run_section
from benchmarks.serving_models import FULL_PARTS, TINY_PARTS, Parts, random_student, random_towers
from benchmarks.workload import Clock, MakeTransformer, embedded_shape, release_memory, released_shape
from ladd_ray.inference import Pipeline
from ladd_ray.inference.files import Format, to_file
from ladd_ray.inference.walk import Order, advance, begin, pictures
from ladd_ray.interfaces import Condition

STEPS: Final = (1, 4)
FORMATS: Final[tuple[Format, ...]] = ("png", "jpeg", "webp")
IDEAL_MS: Final[Mapping[tuple[str, int, int], float]] = {
    ("sd3-medium", 512, 1): 5.9,
    ("sd3-medium", 512, 4): 13.9,
    ("sd3-medium", 1024, 1): 24.5,
    ("sd3-medium", 1024, 4): 58.3,
    ("sd3.5-large", 512, 1): 13.3,
    ("sd3.5-large", 512, 4): 43.6,
    ("sd3.5-large", 1024, 1): 52.6,
    ("sd3.5-large", 1024, 4): 170.8,
}
"""By model, side in pixels and steps."""
CPU: Final = torch.device("cpu")
GRACE_S: Final = 15
"""Seconds past the deadline after which a call that hangs inside a library is ended."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    models: Mapping[str, MakeTransformer]
    sides: Sequence[int]
    at_once: Sequence[int]
    parts: Parts
    repeats: int
    compile_backend: str


FULL = Scale(
    models={name: released_shape(name) for name in ("sd3-medium", "sd3.5-large")},
    sides=(512, 1024),
    at_once=(1, 16),
    parts=FULL_PARTS,
    repeats=10,
    compile_backend="inductor",
)
TINY = Scale(
    models={"tiny": embedded_shape(2)},
    sides=(32, 64),
    at_once=(1, 2),
    parts=TINY_PARTS,
    repeats=2,
    compile_backend="eager",
)
"""Checks that every line runs; its numbers mean nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints tables, and writes everything as JSON and Markdown."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + options.deadline_s
    faulthandler.dump_traceback_later(options.deadline_s + GRACE_S, exit=True)
    device = torch.device(options.device)
    machine = describe_machine(device)
    done: list[SectionResult] = []

    def save(running: SectionResult, outcome: Outcome) -> None:
        print(f"[{running.name}] {outcome.name}: {outcome.status}", outcome.reason or outcome.row, flush=True)
        write_results(options.output, machine, [*done, running])

    for section in plan(TINY if options.tiny else FULL, device, models=options.models):
        result = run_section(section, deadline=deadline, after_case=save)
        done.append(result)
    faulthandler.cancel_dump_traceback_later()
    print(to_markdown(machine, done))


def plan(scale: Scale, device: torch.device, *, models: Sequence[str] | None = None) -> Iterator[Section]:
    """A section of each model, then what does not depend on it. Made one by one: two models need not fit at once."""
    for name in models or scale.models:
        drawing = Drawing(name, *random_student(scale.models[name], scale.parts, device=device), scale, device)
        title = f"{name}: begin, steps and decoding of requests at once; medians of {scale.repeats}."
        yield Section(name, title, drawing.cases(), budget_s=float("inf"))
        del drawing
        release_memory(device)
    text = [Case(f"{count} prompts", partial(_text, scale, device, count)) for count in scale.at_once]
    yield Section("text", "Text towers, all three.", text, budget_s=float("inf"))
    files = [Case(f"{side} px", partial(_files, scale, side)) for side in scale.sides]
    yield Section(
        "file", "A photo-like picture to the bytes of a file, on one CPU thread.", files, budget_s=float("inf")
    )


@dataclass(frozen=True)
class Drawing:
    """Measures one model."""

    name: str
    pipeline: Pipeline
    prompt: Condition
    scale: Scale
    device: torch.device

    def cases(self) -> list[Case]:
        """Everything plain first: what is compiled stays so."""
        settings = [(side, count) for side in self.scale.sides for count in self.scale.at_once]
        plain = [Case(f"{side} px, {count} at once", partial(self._measure, side, count)) for side, count in settings]
        compiled = [Case(f"{case.name}, compiled", case.run) for case in plain]
        return [*plain, Case("compiling, at each size for the first time", self._compile), *compiled]

    def _compile(self) -> Row:
        self.pipeline.compile_blocks(backend=self.scale.compile_backend)
        for side in self.scale.sides:
            for count in self.scale.at_once:
                with torch.no_grad():
                    self._draw(side, count, 1, Clock(self.device))
        return {}

    def _measure(self, side: int, count: int) -> Row:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        row: Row = {}
        for steps in STEPS:
            phases = _repeated(partial(self._draw, side, count, steps), self.device, repeats=self.scale.repeats)
            whole_ms = sum(phases.values())
            row |= {f"{steps}-step {phase} ms": milliseconds for phase, milliseconds in phases.items()}
            row |= {f"{steps}-step ms": whole_ms, f"{steps}-step images/s": 1000 * count / whole_ms}
            ideal = IDEAL_MS.get((self.name, side, steps))
            if ideal is not None and count == 1:
                row[f"{steps}-step / ideal"] = whole_ms / ideal
        if self.device.type == "cuda":
            row["peak GiB"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return row

    def _draw(self, side: int, count: int, steps: int, clock: Clock) -> None:
        order = Order("generate", "", side, side, seeds=tuple(range(count)), num_inference_steps=steps)
        walks = begin(self.pipeline, order, prompt=self.prompt)
        clock.mark("begin")
        for _ in range(steps):
            advance(self.pipeline, walks)
        clock.mark("steps")
        pictures(self.pipeline, walks)
        clock.mark("decode")


def _text(scale: Scale, device: torch.device, count: int) -> Row:
    towers = random_towers(scale.parts, device=device)

    def encode(clock: Clock) -> None:
        for name, tower in towers.items():
            tower(count)
            clock.mark(name)

    phases = _repeated(encode, device, repeats=scale.repeats)
    return {**{f"{name} ms": each for name, each in phases.items()}, "text ms": sum(phases.values())}


def _files(scale: Scale, side: int) -> Row:
    gradient = Image.linear_gradient("L").resize((side, side))
    noise = Image.effect_noise((side, side), 20)
    picture = Image.merge("RGB", [gradient, noise, gradient.transpose(Image.Transpose.ROTATE_90)])
    return {
        f"{kind} ms": _repeated(partial(_pack, picture, kind), CPU, repeats=scale.repeats)["file"] for kind in FORMATS
    }


def _pack(picture: Image.Image, file_format: Format, clock: Clock) -> None:
    to_file(picture, file_format=file_format)
    clock.mark("file")


def _repeated(action: Callable[[Clock], Any], device: torch.device, *, repeats: int) -> dict[str, float]:
    """Median milliseconds of each phase, after two runs that do not count."""
    times = []
    with torch.no_grad():
        for _ in range(repeats + 2):
            clock = Clock(device)
            action(clock)
            times.append(clock.seconds())
    return {phase: 1000 * median(each[phase] for each in times[2:]) for phase in times[0]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to check that everything runs")
    parser.add_argument("--models", nargs="+", choices=tuple(FULL.models), help="by default all")
    parser.add_argument("--deadline-s", type=float, default=560, help="seconds after which nothing goes on")
    return parser


if __name__ == "__main__":
    main()
