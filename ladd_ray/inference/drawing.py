"""Generating, editing and inpainting with any sampler: three ways to prepare, one way to draw.

Shape legend: b pictures, c latent channels, h w height and width in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.sampling import NoiseSource
from ladd_ray.inference.images import decode, to_pil
from ladd_ray.inference.tasks import Given, Hole, Picture, prepare_edit, prepare_generate, prepare_inpaint
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Strengths


class TaskPipeline(ABC):
    """Generates, edits and inpaints with any sampler. Editing and inpainting need a model that learned them."""

    default_steps: int
    """Steps where nothing is said."""

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
        self._denoiser = denoiser.requires_grad_(False).eval().to(self.device)
        self._prompt_encoder = prompt_encoder
        self._autoencoder = autoencoder

    @property
    def native_size(self) -> int:
        """Side in pixels that the network's configuration names."""
        side: int = self._denoiser.transformer.config.sample_size * self._autoencoder.downsampling
        return side

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
        strengths = self._strengths("generate", text=text_guidance, image=None)
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
        self._require_tasks()
        strengths = self._strengths("edit", text=text_guidance, image=image_guidance)
        given = prepare_edit(self._autoencoder, images)
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
        self._require_tasks()
        strengths = self._strengths("inpaint", text=None, image=None)
        given = prepare_inpaint(self._autoencoder, images, masks)
        return self._draw(prompts, given, seed=seed, num_inference_steps=num_inference_steps, strengths=strengths)

    @abstractmethod
    def _strengths(self, task: str, *, text: float | None, image: float | None) -> Strengths | None:
        """Guidance of a task: what is asked for, and the model's own elsewhere; None for a model that has no choice.

        Raises:
            ValueError: the model cannot do what is asked for.
        """

    @abstractmethod
    def _sample(
        self, prompt: Condition, noise_for: NoiseSource, *, strengths: Strengths | None, num_inference_steps: int
    ) -> Tensor:
        """Latents (b, c, h/8, w/8)."""

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
        shape = self._latent_shape(given.height, given.width)
        noise_for = _noise_source(shape, _streams(seed, len(prompts)), device=self.device)
        prompt = self._prompt_encoder.encode(prompts)
        if given.task_channels is not None and len(given.task_channels) != len(prompts):
            raise ValueError(f"{len(given.task_channels)} pictures for {len(prompts)} texts: give one text each")
        condition = prompt._replace(task_channels=given.task_channels).to(self.device)
        latents = self._sample(condition, noise_for, strengths=strengths, num_inference_steps=steps)
        return to_pil(given.kept(decode(self._autoencoder, latents)))

    def _latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        patch = int(self._denoiser.transformer.config.patch_size) * self._autoencoder.downsampling
        if height % patch or width % patch or min(height, width) < patch:
            raise ValueError(f"height {height} and width {width} must be multiples of {patch} pixels")
        return self._autoencoder.latent_shape(height, width)

    def _require_tasks(self) -> None:
        if self._denoiser.num_task_channels == 0:
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
