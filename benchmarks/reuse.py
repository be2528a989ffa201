"""A step with full reuse (6 forwards) against one with separate passes (8 forwards): same gradients, less time?

    python benchmarks/reuse.py                                     # the embedded model, on one CPU thread
    python benchmarks/reuse.py --device cuda --model sd3-medium --pixels 512 --micro-batch 8 --precision bf16

Both kinds of step take the same samples and the same noise, in turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from benchmarks.workload import Clock, build_networks, random_batch, released_shape
from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import LatentBatch, TrainableNetwork, Update
from ladd_ray.models.folder import SHAPES
from ladd_ray.recipes import stickers
from ladd_ray.training.methods.ladd import LaddMethod, build_ladd
from ladd_ray.training.preflight import absolute_model

Reuse = Literal["full", "none"]
FORWARDS: Mapping[Reuse, int] = {"full": 6, "none": 8}
WARMUP_PAIRS = 1


@dataclass
class Recorder:
    """A trainable network that keeps its gradients and does not step."""

    network: TrainableNetwork
    gradients: dict[str, Tensor] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        return self.network.module

    def __call__(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def frozen(self) -> AbstractContextManager[nn.Module]:
        return self.network.frozen()

    def update(self, loss: Tensor) -> Update:
        loss.backward()
        named = self.module.named_parameters()
        self.gradients = {name: weight.grad.clone() for name, weight in named if weight.grad is not None}
        self.module.zero_grad()
        return Update(stepped=False, gradient_norm=0.0, lr=0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the comparison as JSON."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    methods = {reuse: _build(options, reuse) for reuse in FORWARDS}
    batch = random_batch(
        methods["full"],
        micro_batch_size=options.micro_batch,
        pixels=options.pixels,
        text_tokens=options.text_tokens,
        device=torch.device(options.device),
    )
    differences = gradient_differences(methods, batch)
    times = paired_times(methods, batch, pairs=options.pairs, device=torch.device(options.device))
    print(json.dumps({**vars(options), **differences, **summary(times)}, indent=2))


def gradient_differences(methods: Mapping[Reuse, LaddMethod], batch: LatentBatch) -> dict[str, float]:
    """Largest relative difference of a network's gradients between the two kinds of step, before any update."""
    recorded = {reuse: _recorded(method, batch) for reuse, method in methods.items()}
    return {
        f"{name} gradient, relative difference": _distance(recorded["full"][name], recorded["none"][name])
        for name in ("student", "heads")
    }


def paired_times(
    methods: Mapping[Reuse, LaddMethod], batch: LatentBatch, *, pairs: int, device: torch.device
) -> dict[Reuse, list[float]]:
    """Seconds of each step, both kinds in turns and each first every other time."""
    times: dict[Reuse, list[float]] = {reuse: [] for reuse in methods}
    for pair in range(WARMUP_PAIRS + pairs):
        step_batch = replace(batch, sample_ids=tuple(pair * len(batch.sample_ids) + row for row in batch.sample_ids))
        for reuse in sorted(methods, reverse=bool(pair % 2)):
            times[reuse].append(_seconds(partial(methods[reuse].step, step_batch, step=pair), device))
    return {reuse: seconds[WARMUP_PAIRS:] for reuse, seconds in times.items()}


def summary(times: Mapping[Reuse, Sequence[float]]) -> dict[str, Any]:
    """Medians, and the median of the ratios within pairs."""
    ratios = [six / eight for six, eight in zip(times["full"], times["none"], strict=True)]
    return {
        **{f"{FORWARDS[reuse]}F step, median s": round(median(seconds), 4) for reuse, seconds in times.items()},
        "6F / 8F by pairs": [round(ratio, 3) for ratio in ratios],
        "6F / 8F, median": round(median(ratios), 3),
        "6F / 8F of the forwards": FORWARDS["full"] / FORWARDS["none"],
    }


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    """On a CPU those of this process, which other programs on the machine do not change; else by events."""
    if device.type == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    clock = Clock(device)
    step()
    clock.mark("step")
    return clock.seconds()["step"]


def _build(options: argparse.Namespace, reuse: Reuse) -> LaddMethod:
    config = _config(options, reuse)
    engine = LocalEngine(options.device, total_steps=WARMUP_PAIRS + options.pairs)
    if options.model in SHAPES:
        return build_networks(released_shape(options.model), config, engine)
    return build_ladd(config, engine)


def _config(options: argparse.Namespace, reuse: Reuse) -> Config:
    changes = {
        "student.precision": options.precision,
        "teacher.precision": options.precision,
        "discriminator.reuse": reuse,
        "run.engine": "local",
        "run.num_workers": 1,
    }
    if options.model not in SHAPES:
        changes["teacher.path"] = absolute_model(options.model)
    return override(stickers(), changes)


def _recorded(method: LaddMethod, batch: LatentBatch) -> dict[str, dict[str, Tensor]]:
    recorders = {name: Recorder(network) for name, network in method.trainable.items()}
    replace(method, **recorders).step(batch, step=0)
    return {name: recorder.gradients for name, recorder in recorders.items()}


def _distance(gradients: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Of the two as one long vector each."""
    difference = sum(float((gradients[name] - others[name]).double().square().sum()) for name in others)
    return (difference / sum(float(gradient.double().square().sum()) for gradient in others.values())) ** 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stickers", help=f"'stickers', a folder, or a shape: {', '.join(SHAPES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--text-tokens", type=int, default=77)
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=7)
    return parser


if __name__ == "__main__":
    main()
