"""A distilled student in three lines:

    pipeline = Pipeline.from_pretrained("runs/stickers/export")
    for image in pipeline.generate(["a red apple", "two blue fish"], seed=1):
        image.show()

Shape legend: b pictures, c latent channels, h w height and width in pixels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.algorithm.sampling import sample_student
from ladd_ray.config import Precision
from ladd_ray.inference.images import decode, to_pil
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser


class Pipeline:
    """Text to pictures in one step per trained noise level, or fewer, without guidance."""

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
        self.levels = tuple(levels)
        self.device = torch.device(device)
        self._denoiser = denoiser.requires_grad_(False).eval().to(self.device)
        self._prompt_encoder = prompt_encoder
        self._autoencoder = autoencoder

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
    ) -> list[Image.Image]:
        """One picture for each prompt, in one batch.

        Args:
            prompts: What to draw.
            seed: One for all prompts, which still get different noise, or one each: then a picture follows
                from its prompt and its own seed, whatever else is in the batch.
            num_inference_steps: 1 to the number of trained levels, the default.
            height: In pixels; by default ``native_size``.
            width: In pixels; by default ``native_size``.

        Raises:
            ValueError: no prompt, seeds or steps that do not fit, or a size that is no multiple of a patch.
        """
        num_steps = len(self.levels) if num_inference_steps is None else num_inference_steps
        levels = sampling_levels(self.levels, num_steps)
        shape = self._latent_shape(
            self.native_size if height is None else height, self.native_size if width is None else width
        )
        noise_for = _noise_source(shape, _streams(seed, len(prompts)), device=self.device)
        prompt = self._prompt_encoder.encode(prompts).to(self.device)
        latents = sample_student(self._denoiser, prompt, levels=levels, noise_for=noise_for)
        return to_pil(decode(self._autoencoder, latents))

    def _latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        patch = int(self._denoiser.transformer.config.patch_size) * self._autoencoder.downsampling
        if height % patch or width % patch or min(height, width) < patch:
            raise ValueError(f"height {height} and width {width} must be multiples of {patch} pixels")
        return self._autoencoder.latent_shape(height, width)


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
