"""Draws images of prompts with a teacher or a student: one object that Ray actors and tests share.

Shape legend: b prompts, c h w latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ladd_ray.algorithm import flow, noise
from ladd_ray.algorithm.guidance import Scale
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.algorithm.sampling import sample_student, sample_teacher
from ladd_ray.config import Config, Precision
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.folder import random_transformer, scheduler_shift
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.student import load_student

UNTRAINED_SEED = 1
"""Of random weights."""


class Sampler:
    """A pipeline folder, ready to draw. A sample's noise follows from its number and the seed alone."""

    def __init__(self, path: str, *, precision: Precision, device: str | torch.device, untrained: bool = False) -> None:
        """Load a pipeline folder; ``untrained`` puts random weights, always the same, in the place of its own."""
        self.device = torch.device(device)
        load = _untrained if untrained else load_student
        self.denoiser = load(path, precision=precision).requires_grad_(False).eval().to(self.device)
        self.encoder = PromptEncoder.from_pretrained(path, precision=precision, device=self.device)
        self.autoencoder = Autoencoder.from_pretrained(path, precision=precision, device=self.device)

    def teacher(
        self,
        prompt: Condition,
        sample_ids: Sequence[int],
        *,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: Scale,
        shift: float,
        seed: int,
        image_guidance_scale: Scale = 1.0,
    ) -> Tensor:
        """Latents (b, c, h, w) by the many-step sampler; a guidance of 1 is none. Rows may have their own (b,)."""
        shape = self.autoencoder.latent_shape(height, width)
        start = noise.per_step(shape, seed=seed, sample_ids=sample_ids, device=self.device)(0)
        return sample_teacher(
            self.denoiser,
            prompt,
            negative_prompt=self.encoder.encode([""]),
            noise=start,
            sigmas=flow.teacher_sigmas(num_inference_steps, shift),
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
        )

    def student(
        self,
        prompt: Condition,
        sample_ids: Sequence[int],
        *,
        height: int,
        width: int,
        levels: Sequence[float],
        num_inference_steps: int,
        seed: int,
    ) -> Tensor:
        """Latents (b, c, h, w) by the few-step sampler over trained ``levels``."""
        shape = self.autoencoder.latent_shape(height, width)
        return sample_student(
            self.denoiser,
            prompt,
            levels=sampling_levels(levels, num_inference_steps),
            noise_for=noise.per_step(shape, seed=seed, sample_ids=sample_ids, device=self.device),
        )


def _untrained(path: str, *, precision: Precision) -> SD3Denoiser:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(UNTRAINED_SEED)
        return SD3Denoiser(random_transformer(path, precision=precision))


def teacher_shift(config: Config) -> float:
    """Timestep shift of the teacher's sampler: the configured one, else that of its scheduler."""
    return config.data.shift or scheduler_shift(config.teacher.path)


def worker_device(kind: Literal["cpu", "gpu"]) -> torch.device:
    """The device of a worker: Ray shows each one only the GPU it may use."""
    return torch.device("cuda" if kind == "gpu" else "cpu")
