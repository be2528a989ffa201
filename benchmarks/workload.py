"""What is measured: random networks of a given shape, random latents, and one LADD step timed phase by phase.

Shape legend: b batch, c latent channels, h w latent height and width, l prompt tokens, e embedding width,
p pooled width.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from ladd_ray.algorithm import ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import Config, Precision
from ladd_ray.interfaces import Condition, Engine, LatentBatch
from ladd_ray.models.embedded import EmbeddedShape, build_transformer
from ladd_ray.models.folder import dtype_of, random_transformer
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features
from ladd_ray.training.methods.ladd import LaddMethod

LATENT_PIXELS = 8
"""Pixels on a side of a latent."""

MakeTransformer = Callable[[Precision, torch.device], Any]
"""Makes an SD3 transformer; its class is known to ``ladd_ray.models`` alone."""


def released_shape(name: str) -> MakeTransformer:
    """Makes transformers of a released model's shape (``models.folder.SHAPES``), directly on the device."""
    return lambda precision, device: random_transformer(name, precision=precision, device=device)


def embedded_shape(depth: int) -> MakeTransformer:
    """Makes small transformers of ``depth`` blocks and width 64 ``depth``."""

    def make(precision: Precision, device: torch.device) -> Any:
        transformer: Any = build_transformer(EmbeddedShape(depth=depth))
        return transformer.to(device, dtype_of(precision))

    return make


def build_networks(make_transformer: MakeTransformer, config: Config, engine: Engine) -> LaddMethod:
    """Student and features with the same random weights, and heads, in an engine.

    With ``student.activation_checkpointing`` both transformers recompute.
    """
    recompute = config.student.activation_checkpointing
    torch.manual_seed(config.run.seed)
    teacher = make_transformer(config.teacher.precision, engine.device)
    torch.manual_seed(config.run.seed)
    student = SD3Denoiser(make_transformer(config.student.precision, engine.device), activation_checkpointing=recompute)
    features = SD3Features(
        teacher, tapped_blocks=config.discriminator.tapped_blocks, activation_checkpointing=recompute
    )
    heads = DiscriminatorHeads.from_config(
        config.discriminator,
        student.hidden_size,
        pooled_size=student.pooled_size,
        num_blocks=student.num_blocks,
    )
    return LaddMethod(
        config,
        student=engine.prepare(student, config.student),
        heads=engine.prepare(heads, config.discriminator),
        features=engine.freeze(features, sharded=config.teacher.sharded),
    )


def random_batch(
    networks: LaddMethod, *, micro_batch_size: int, pixels: int, text_tokens: int, device: torch.device
) -> LatentBatch:
    """Gaussian latents and prompts of square pictures, the same at every call."""
    student = networks.student.module
    assert isinstance(student, SD3Denoiser), "build_networks made it"
    generator = torch.Generator().manual_seed(0)
    side = pixels // LATENT_PIXELS

    def gaussian(*shape: int) -> torch.Tensor:
        return torch.randn(micro_batch_size, *shape, generator=generator).to(device)

    return LatentBatch(
        gaussian(student.latent_channels, side, side),
        Condition(gaussian(text_tokens, student.prompt_size), gaussian(student.pooled_size)),
        sample_ids=tuple(range(micro_batch_size)),
    )


class Clock:
    """Splits a step into phases, from when it is made: CUDA events on a GPU, the wall clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []
        self._synchronize()
        self.mark("start")

    def mark(self, phase: str) -> None:
        """``phase`` ends here."""
        if self._device.type != "cuda":
            self._marks.append((phase, time.perf_counter()))
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append((phase, event))

    def seconds(self) -> dict[str, float]:
        """Duration of each phase, in the order they ran."""
        self._synchronize()
        return {phase: _between(start, end) for (_, start), (phase, end) in pairwise(self._marks)}

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def ladd_step(
    networks: LaddMethod, batch: LatentBatch, *, config: Config, step: int, clock: Clock
) -> Mapping[str, float]:
    """One training step, noise drawing and optimizers included; its losses."""
    size = len(batch.sample_ids)
    batch = replace(batch, sample_ids=tuple(range(step * size, (step + 1) * size)))
    drawn = ladd.draw(batch, config.noise, step=step, seed=config.run.seed)
    clock.mark("draw")
    x0_pred = ladd.generate(networks.student, batch, drawn=drawn)
    clock.mark("generate")
    judged = ladd.judge(networks.features, x0_pred, batch=batch, drawn=drawn, config=config.discriminator)
    clock.mark("judge")
    heads_terms = ladd.discriminator_loss(networks.heads, judged, config=config.discriminator)
    networks.heads.update(heads_terms.loss)
    clock.mark("heads_turn")
    with networks.heads.frozen() as frozen_heads:
        student_terms = ladd.student_loss(frozen_heads, judged, config=config.discriminator)
        networks.student.update(student_terms.loss)
    clock.mark("student_turn")
    return {
        "discriminator/loss": heads_terms.loss.item(),
        "student/loss": student_terms.loss.item(),
    }


def release_memory(device: torch.device) -> None:
    """Gives what nothing refers to any more back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _between(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float) and isinstance(end, float), "a clock has one device"
        return end - start
    return float(start.elapsed_time(end)) / 1000
