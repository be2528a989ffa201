"""How fast is a LADD step of the 2B recipe on one device, and what does compiling the frozen features give?

Random weights, latents and prompts: the arithmetic is that of training. The local engine, so that a machine
without DeepSpeed measures too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.flops import (
    REUSING_FORWARDS,
    SEPARATE_FORWARDS,
    forwards_per_step,
    num_image_tokens,
    transformer_flops,
)
from benchmarks.sections import Case, Row
from benchmarks.workload import (
    Clock,
    MakeTransformer,
    build_networks,
    ladd_step,
    random_batch,
    release_memory,
)
from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import LatentBatch
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.training.methods.ladd import LaddMethod

PEAK_TFLOPS = 790.0
"""A bf16 product of 8192 x 8192 matrices on one H200: what arithmetic can reach there (TFLOP/s)."""

Phases = dict[str, float]
"""Seconds of each phase of one step."""


@dataclass(frozen=True)
class Setting:
    """One resolution, with or without recomputation."""

    pixels: int
    micro_batch_sizes: Sequence[int]
    """Tried in this order until one fits in memory."""
    recompute: bool = False

    def __str__(self) -> str:
        return f"{self.pixels} px, recomputation" if self.recompute else f"{self.pixels} px"


@dataclass(frozen=True)
class Throughput:
    """Measures steps of one recipe at several settings."""

    make_transformer: MakeTransformer
    recipe: Config
    device: torch.device
    text_tokens: int
    warmup_steps: int = 2
    measured_steps: int = 6
    compile_backend: str = "inductor"

    def step_cases(self, settings: Sequence[Setting]) -> list[Case]:
        """The whole step, phase by phase."""
        return [Case(str(setting), partial(self._first_fit, setting, self._measure)) for setting in settings]

    def compile_cases(self, settings: Sequence[Setting]) -> list[Case]:
        """The whole step with compiled against uncompiled features, in turns."""
        return [Case(str(setting), partial(self._first_fit, setting, self._compare)) for setting in settings]

    def _first_fit(self, setting: Setting, measure: Callable[[Setting, int], Row]) -> Row:
        for micro_batch_size in setting.micro_batch_sizes:
            release_memory(self.device)
            with suppress(torch.OutOfMemoryError):
                return measure(setting, micro_batch_size)
        raise MemoryError(f"not even a micro batch of {setting.micro_batch_sizes[-1]} fits")

    def _measure(self, setting: Setting, micro_batch_size: int) -> Row:
        config, networks, batch = self._prepare(setting, micro_batch_size)
        times = self._time({"eager": networks}, batch, config=config)["eager"]
        step_s = median(sum(phases.values()) for phases in times)
        return {
            "micro batch": micro_batch_size,
            "step ms": 1000 * step_s,
            "images/s": micro_batch_size / step_s,
            "peak GiB": _peak_gib(self.device),
            **self._arithmetic(networks, setting, micro_batch_size=micro_batch_size, step_s=step_s),
            **{f"{phase} ms": 1000 * median(phases[phase] for phases in times) for phase in times[0]},
        }

    def _compare(self, setting: Setting, micro_batch_size: int) -> Row:
        torch.compiler.reset()
        config, networks, batch = self._prepare(setting, micro_batch_size)
        features: Any = torch.compile(networks.features, backend=self.compile_backend)
        compiled = replace(networks, features=features)
        times = self._time({"eager": networks, "compiled": compiled}, batch, config=config)
        steps = {name: median(sum(phases.values()) for phases in times[name]) for name in times}
        return {
            "micro batch": micro_batch_size,
            "backend": self.compile_backend,
            "eager ms": 1000 * steps["eager"],
            "compiled ms": 1000 * steps["compiled"],
            "eager / compiled": steps["eager"] / steps["compiled"],
        }

    def _prepare(self, setting: Setting, micro_batch_size: int) -> tuple[Config, LaddMethod, LatentBatch]:
        config = override(self.recipe, {"student.activation_checkpointing": setting.recompute})
        engine = LocalEngine(self.device, total_steps=config.run.steps)
        networks = build_networks(self.make_transformer, config, engine)
        batch = random_batch(
            networks,
            micro_batch_size=micro_batch_size,
            pixels=setting.pixels,
            text_tokens=self.text_tokens,
            device=self.device,
        )
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        return config, networks, batch

    def _time(
        self, variants: Mapping[str, LaddMethod], batch: LatentBatch, *, config: Config
    ) -> Mapping[str, list[Phases]]:
        """Steps of all variants in turns, so that a machine that slows down slows them all."""
        times: dict[str, list[Phases]] = {name: [] for name in variants}
        for step in range(self.warmup_steps + self.measured_steps):
            for name, networks in variants.items():
                clock = Clock(self.device)
                ladd_step(networks, batch, config=config, step=step, clock=clock)
                times[name].append(clock.seconds())
        return {name: phases[self.warmup_steps :] for name, phases in times.items()}

    def _arithmetic(self, networks: LaddMethod, setting: Setting, *, micro_batch_size: int, step_s: float) -> Row:
        student = networks.student.module
        assert isinstance(student, SD3Denoiser), "build_networks made it"
        forward = transformer_flops(
            width=student.hidden_size,
            num_blocks=student.num_blocks,
            image_tokens=num_image_tokens(setting.pixels),
            text_tokens=self.text_tokens,
        )
        row: Row = {"TFLOP per F": forward / 1e12}
        for convention in (REUSING_FORWARDS, SEPARATE_FORWARDS):
            forwards = forwards_per_step(convention, recompute=setting.recompute)
            tflop = forwards * forward * micro_batch_size / 1e12
            row[f"{convention}F: TFLOP"] = tflop
            row[f"{convention}F: TFLOP/s"] = tflop / step_s
            row[f"{convention}F: % of peak"] = 100 * tflop / step_s / PEAK_TFLOPS
        return row


def _peak_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
