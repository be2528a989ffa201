"""A distilled student in a few lines:

    pipeline = Pipeline.from_pretrained("runs/stickers/export")
    for image in pipeline.generate(["a red apple", "two blue fish"], seed=1):
        image.show()
    (edited,) = pipeline.edit([image], ["make the background blue"], text_guidance=4.0, image_guidance=1.5)

A student follows text and picture as strongly as it was distilled to, unless it has guidance knobs: then each call may
turn them, as the second call does. Its model comes in three lines more:

    teacher = TeacherPipeline.from_pretrained("runs/stickers-tasks/pipeline", guidance_scale=3.0)
    (edited,) = teacher.edit([image], ["make the background blue"])
    (filled,) = teacher.inpaint([image], [mask], ["a red apple"])

Shape legend: b pictures, c latent channels, h w height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from ladd_ray.algorithm import flow
from ladd_ray.algorithm.guidance import guided_velocity
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.config import Precision
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import load_transformer, scheduler_shift
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import NEUTRAL, Knobs, Strengths
from ladd_ray.models.student import load_student


class Pipeline(TaskPipeline):
    """A distilled student: one step per trained noise level, or fewer, without guidance."""

    fresh_noise = True

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
        """Load an exported student, whose folder also says which noise levels and strengths it was trained at.

        Raises:
            ValueError: the folder is missing, or holds no distilled student of the Stable Diffusion 3 family.
        """
        levels = exported_levels(folder)
        return cls(
            load_student(folder, precision=precision),
            prompt_encoder=PromptEncoder.from_pretrained(folder, precision=precision, device=device),
            autoencoder=Autoencoder.from_pretrained(folder, precision=precision, device=device),
            levels=levels,
            device=device,
        )

    @property
    def knobs(self) -> Knobs | None:
        """Ranges and defaults of the guidance; None for a student whose guidance was fixed when it was distilled."""
        return None if self._denoiser.strengths is None else self._denoiser.strengths.knobs

    def strengths(self, task: str, *, text: float | None, image: float | None) -> Strengths | None:  # noqa: ARG002
        if self.knobs is not None:
            return self.knobs.pick(text=text, image=image)
        if text is not None or image is not None:
            raise ValueError(
                "this student has no guidance knobs, its guidance was fixed when it was distilled: leave text_guidance "
                "and image_guidance out, or load one distilled with student.guidance_knobs"
            )
        return None

    def sigmas(self, num_inference_steps: int) -> tuple[float, ...]:
        return (*sampling_levels(self.levels, num_inference_steps), 0.0)

    def velocity(self, x_sigma: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        velocity: Tensor = self._denoiser(x_sigma, sigma, *condition)
        return velocity


class TeacherPipeline(TaskPipeline):
    """A model of many steps under guidance: what a student is distilled from."""

    default_steps = 28
    fresh_noise = False

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

    def strengths(self, task: str, *, text: float | None, image: float | None) -> Strengths:
        # Of a hole there is nothing to lead away from: training never leaves its picture out.
        by_image = (self.image_guidance_scale if image is None else image) if task == "edit" else NEUTRAL
        by_text = self.guidance_scale if text is None else text
        if by_image != NEUTRAL and by_text <= NEUTRAL:
            raise ValueError(
                f"image_guidance = {by_image:g} needs text_guidance above {NEUTRAL:g}, and not {by_text:g}: raise it"
            )
        return Strengths(by_text, by_image)

    def sigmas(self, num_inference_steps: int) -> tuple[float, ...]:
        return flow.teacher_sigmas(num_inference_steps, self.shift)

    def velocity(self, x_sigma: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        assert condition.strengths is not None, "guidance always stands somewhere"
        return guided_velocity(
            self._denoiser,
            x_sigma,
            sigma=sigma,
            prompt=condition._replace(strengths=None),
            negative_prompt=self._negative_prompt,
            guidance_scale=condition.strengths[:, 0],
            image_guidance_scale=condition.strengths[:, 1],
        )

    @cached_property
    def _negative_prompt(self) -> Condition:
        return self.prompt_encoder.encode([""]).to(self.device)
