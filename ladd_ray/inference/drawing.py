"""Generating, editing and inpainting with any sampler: three ways to prepare, one way to draw.

Shape legend: b pictures, c latent channels, h w height and width in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.sampling import denoise
from ladd_ray.inference.images import decode, to_pil
from ladd_ray.inference.tasks import Given, Hole, Picture, prepare_edit, prepare_generate, prepare_inpaint
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.independent_rows import make_rows_independent
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Strengths


class TaskPipeline(ABC):
    """Generates, edits and inpaints with any sampler. Editing and inpainting need a model that learned them."""

    default_steps: int
    """Steps where nothing is said."""
    fresh_noise: bool
    """Whether every step draws its own noise; without, it keeps the noise that the velocity implies."""

    def __init__(
        self,
        denoiser: SD3Denoiser,
        *,
        prompt_encoder: PromptEncoder,
        autoencoder: Autoencoder,
        device: torch.device | str,
    ) -> None:
        """Join the parts."""
        self.device = torch.device(device)
        self.prompt_encoder = prompt_encoder
        self.autoencoder = autoencoder
        self._denoiser = denoiser.requires_grad_(False).eval().to(self.device)

    @property
    def native_size(self) -> int:
        """Side in pixels that the network's configuration names."""
        side: int = self._denoiser.transformer.config.sample_size * self.autoencoder.downsampling
        return side

    @property
    def size_multiple(self) -> int:
        """Pixels that divide every height and width."""
        patch_size = int(self._denoiser.transformer.config.patch_size)
        return patch_size * int(self.autoencoder.downsampling)

    @property
    def largest_side(self) -> int:
        """Pixels along the largest side that the network has positions for."""
        return int(self._denoiser.transformer.config.pos_embed_max_size) * self.size_multiple

    @property
    def knows_tasks(self) -> bool:
        """Whether it edits and inpaints, too."""
        return self._denoiser.num_task_channels > 0

    def make_rows_independent(self) -> None:
        """Let a picture be the same alone and in any batch, bit for bit; see ``models.independent_rows``."""
        make_rows_independent(self._denoiser)
        self.prompt_encoder.make_rows_independent()
        self.autoencoder.make_rows_independent()

    def compile_blocks(self, *, backend: str | Callable[..., Any] = "inductor") -> None:
        """Let every block of the network be compiled when it first draws; see ``SD3Denoiser.compile_blocks``."""
        self._denoiser.compile_blocks(backend=backend)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
        text_guidance: float | None = None,
    ) -> list[Image.Image]:
        """One picture for each prompt, in one batch.

        Args:
            prompts: What to draw.
            seed: One for all prompts, which still get different noise, or one each: then a picture follows
                from its prompt and its own seed, whatever else is in the batch.
            num_inference_steps: By default ``default_steps``.
            height: In pixels; by default ``native_size``.
            width: In pixels; by default ``native_size``.
            text_guidance: How strongly the prompt is followed; by default what the model came with.

        Raises:
            ValueError: no prompt, seeds or steps that do not fit, a size that is no multiple of a patch, or a guidance
                that the model does not have.
        """
        native = self.native_size
        given = prepare_generate(native if height is None else height, native if width is None else width)
        strengths = self.strengths("generate", text=text_guidance, image=None)
        return self._draw(prompts, given, seed=seed, num_inference_steps=num_inference_steps, strengths=strengths)

    @torch.no_grad()
    def edit(
        self,
        images: Sequence[Picture],
        instructions: Sequence[str],
        *,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
        text_guidance: float | None = None,
        image_guidance: float | None = None,
    ) -> list[Image.Image]:
        """Each picture changed as its instruction says; pictures of one size, which the results keep.

        The guidances say how strongly instruction and picture are followed; by default what the model came with.

        Raises:
            ValueError: as ``generate``, or the model only generates.
        """
        self.require_tasks()
        strengths = self.strengths("edit", text=text_guidance, image=image_guidance)
        given = prepare_edit(self.autoencoder, images)
        return self._draw(instructions, given, seed=seed, num_inference_steps=num_inference_steps, strengths=strengths)

    @torch.no_grad()
    def inpaint(
        self,
        images: Sequence[Picture],
        masks: Sequence[Hole],
        prompts: Sequence[str],
        *,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
    ) -> list[Image.Image]:
        """Each picture with its hole (white or True in the mask) filled; every pixel outside of it stays as it is.

        Raises:
            ValueError: as ``generate``, or the model only generates.
        """
        self.require_tasks()
        strengths = self.strengths("inpaint", text=None, image=None)
        given = prepare_inpaint(self.autoencoder, images, masks)
        return self._draw(prompts, given, seed=seed, num_inference_steps=num_inference_steps, strengths=strengths)

    @abstractmethod
    def strengths(self, task: str, *, text: float | None, image: float | None) -> Strengths | None:
        """Guidance of a task: what is asked for, and the model's own elsewhere; None for a model that has no choice.

        Raises:
            ValueError: the model cannot do what is asked for.
        """

    @abstractmethod
    def sigmas(self, num_inference_steps: int) -> tuple[float, ...]:
        """The falling noise levels of so many steps, from 1 to the final 0.

        Raises:
            ValueError: the model cannot draw in so many steps.
        """

    @abstractmethod
    def velocity(self, x_sigma: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """What one step follows (b, c, h, w), at levels (b,) and strengths that may differ from row to row."""

    def _draw(
        self,
        prompts: Sequence[str],
        given: Given,
        *,
        seed: int | Sequence[int],
        num_inference_steps: int | None,
        strengths: Strengths | None,
    ) -> list[Image.Image]:
        steps = self.default_steps if num_inference_steps is None else num_inference_steps
        shape = self.latent_shape(given.height, given.width)
        noise_for = _noise_source(shape, _streams(seed, len(prompts)), device=self.device)
        prompt = self.prompt_encoder.encode(prompts)
        if given.task_channels is not None and len(given.task_channels) != len(prompts):
            raise ValueError(f"{len(given.task_channels)} pictures for {len(prompts)} texts: give one text each")
        rows = None if strengths is None else strengths.rows(len(prompts))
        condition = prompt._replace(task_channels=given.task_channels, strengths=rows).to(self.device)
        latents = denoise(
            partial(self.velocity, condition=condition),
            noise_for(0),
            sigmas=self.sigmas(steps),
            fresh_noise=noise_for if self.fresh_noise else None,
        )
        return to_pil(given.kept(decode(self.autoencoder, latents)))

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Of one picture of that size in pixels (c, h/8, w/8).

        Raises:
            ValueError: a side is no multiple of ``size_multiple``.
        """
        patch = self.size_multiple
        if height % patch or width % patch or min(height, width) < patch:
            raise ValueError(f"height {height} and width {width} must be multiples of {patch} pixels")
        return self.autoencoder.latent_shape(height, width)

    def require_tasks(self) -> None:
        """Refuse to edit with a model that only generates.

        Raises:
            ValueError: it does.
        """
        if not self.knows_tasks:
            raise ValueError("this model only generates: load one that jobs/pretrain.py taught to edit and inpaint")


def _streams(seed: int | Sequence[int], num_prompts: int) -> list[tuple[int, int]]:
    """The (seed, sample id) that names the noise of each picture."""
    if num_prompts == 0:
        raise ValueError("there is nothing to draw: give at least one prompt")
    if isinstance(seed, int):
        return [(seed, index) for index in range(num_prompts)]
    if len(seed) != num_prompts:
        raise ValueError(f"{len(seed)} seeds for {num_prompts} prompts: give one seed for all, or one each")
    return [(own, 0) for own in seed]


def _noise_source(
    shape: tuple[int, int, int], streams: Sequence[tuple[int, int]], *, device: torch.device
) -> Callable[[int], Tensor]:
    sources = [noise.per_step(shape, seed=seed, sample_ids=(index,), device=device) for seed, index in streams]

    def noise_for(step: int) -> Tensor:
        return torch.cat([source(step) for source in sources])

    return noise_for
