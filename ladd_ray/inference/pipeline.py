"""A distilled student in three lines, and the guided model it came from in three more:

    pipeline = Pipeline.from_pretrained("runs/stickers/export")
    for image in pipeline.generate(["a red apple", "two blue fish"], seed=1):
        image.show()

    teacher = TeacherPipeline.from_pretrained("runs/stickers-tasks/pipeline", guidance_scale=3.0)
    (edited,) = teacher.edit([image], ["make the background blue"])
    (filled,) = teacher.inpaint([image], [mask], ["a red apple"])

Shape legend: b pictures, c latent channels, h w height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.algorithm.sampling import NoiseSource, sample_student, sample_teacher
from ladd_ray.config import Precision
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import load_transformer, scheduler_shift
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser


class Pipeline(TaskPipeline):
    """A distilled student: one step per trained noise level, or fewer, without guidance."""

    def __init__(
        self,
        denoiser: SD3Denoiser,
        *,
        prompt_encoder: PromptEncoder,
        autoencoder: Autoencoder,
        levels: Sequence[float],
        device: torch.device | str,
    ) -> None:
        """Join the parts; ``levels`` are the trained noise levels, falling from 1, without the final 0."""
        super().__init__(denoiser, prompt_encoder=prompt_encoder, autoencoder=autoencoder, device=device)
        self.levels = tuple(levels)
        self.default_steps = len(self.levels)

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, device: torch.device | str = "cpu", precision: Precision = "fp32"
    ) -> Self:
        """Load an exported student, whose folder also says which noise levels it was trained at.

        Raises:
            ValueError: the folder is missing, or holds no distilled student of the Stable Diffusion 3 family.
        """
        levels = exported_levels(folder)
        return cls(
            SD3Denoiser(load_transformer(folder, precision=precision)),
            prompt_encoder=PromptEncoder.from_pretrained(folder, precision=precision, device=device),
            autoencoder=Autoencoder.from_pretrained(folder, precision=precision, device=device),
            levels=levels,
            device=device,
        )

    def _sample(self, prompt: Condition, noise_for: NoiseSource, *, num_inference_steps: int) -> Tensor:
        levels = sampling_levels(self.levels, num_inference_steps)
        return sample_student(self._denoiser, prompt, levels=levels, noise_for=noise_for)


class TeacherPipeline(TaskPipeline):
    """A model of many steps under guidance: what a student is distilled from."""

    default_steps = 28

    def __init__(
        self,
        denoiser: SD3Denoiser,
        *,
        prompt_encoder: PromptEncoder,
        autoencoder: Autoencoder,
        shift: float,
        guidance_scale: float,
        image_guidance_scale: float = 1.0,
        device: torch.device | str,
    ) -> None:
        """Join the parts.

        Args:
            denoiser: The flow network.
            prompt_encoder: Its text towers.
            autoencoder: Its autoencoder.
            shift: Of the sampler's noise levels.
            guidance_scale: Of the text; 1 is none.
            image_guidance_scale: Of the picture to edit; 1 is none. Generating and inpainting know none.
            device: Where to draw.
        """
        super().__init__(denoiser, prompt_encoder=prompt_encoder, autoencoder=autoencoder, device=device)
        self.shift, self.guidance_scale, self.image_guidance_scale = shift, guidance_scale, image_guidance_scale

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        *,
        guidance_scale: float = 4.0,
        image_guidance_scale: float = 1.0,
        shift: float | None = None,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
    ) -> Self:
        """Load a pipeline folder or hub name; without ``shift``, that of its scheduler.

        Raises:
            ValueError: the folder is missing, or not of the Stable Diffusion 3 family.
        """
        return cls(
            SD3Denoiser(load_transformer(folder, precision=precision)),
            prompt_encoder=PromptEncoder.from_pretrained(folder, precision=precision, device=device),
            autoencoder=Autoencoder.from_pretrained(folder, precision=precision, device=device),
            shift=scheduler_shift(folder) if shift is None else shift,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
            device=device,
        )

    def _sample(self, prompt: Condition, noise_for: NoiseSource, *, num_inference_steps: int) -> Tensor:
        return sample_teacher(
            self._denoiser,
            prompt,
            negative_prompt=self._prompt_encoder.encode([""]).to(self.device),
            noise=noise_for(0),
            sigmas=flow.teacher_sigmas(num_inference_steps, self.shift),
            guidance_scale=self.guidance_scale,
            image_guidance_scale=self._image_guidance(prompt),
        )

    def _image_guidance(self, prompt: Condition) -> float:
        """Of a hole there is nothing to lead away from: training never leaves its picture out."""
        if prompt.task_channels is None or bool((prompt.task_channels[:, :1] < 1).any()):
            return 1.0
        return self.image_guidance_scale
