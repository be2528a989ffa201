"""Draws images of prompts with a teacher or a student: one object that Ray actors and tests share.

Shape legend: b prompts, c h w latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ladd_ray.algorithm import flow, noise
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.algorithm.sampling import sample_student, sample_teacher
from ladd_ray.config import Precision
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.folder import load_transformer, random_transformer
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser

UNTRAINED_SEED = 1
"""Of random weights."""


class Sampler:
    """A pipeline folder, ready to draw. A sample's noise follows from its number and the seed alone."""

    def __init__(self, path: str, *, precision: Precision, device: str | torch.device, untrained: bool = False) -> None:
        """Load a pipeline folder; ``untrained`` puts random weights, always the same, in the place of its own."""
        self.device = torch.device(device)
        load = _untrained_transformer if untrained else load_transformer
        transformer = load(path, precision=precision).requires_grad_(False).eval()
        self.denoiser = SD3Denoiser(transformer).to(self.device)
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
        guidance_scale: float,
        shift: float,
        seed: int,
        image_guidance_scale: float = 1.0,
    ) -> Tensor:
        """Latents (b, c, h, w) by the many-step sampler; a guidance of 1 is none."""
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


def _untrained_transformer(path: str, *, precision: Precision) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(UNTRAINED_SEED)
        transformer: nn.Module = random_transformer(path, precision=precision)
    return transformer


def worker_device(kind: Literal["cpu", "gpu"]) -> torch.device:
    """The device of a worker: Ray shows each one only the GPU it may use."""
    return torch.device("cuda" if kind == "gpu" else "cpu")
