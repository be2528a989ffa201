"""Images to latents and back, scaled as the transformer sees them.

Shape legend: b images, h w height and width in pixels, c latent channels, f downsampling (8 in SD3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor

from ladd_ray.config import Precision
from ladd_ray.models.folder import dtype_of, local_name
from ladd_ray.models.independent_rows import make_rows_independent


class Autoencoder:
    """The frozen autoencoder of a pipeline; gradients flow through it to its inputs."""

    def __init__(self, vae: AutoencoderKL, *, device: torch.device | str) -> None:
        self._vae = vae.requires_grad_(False).eval().to(torch.device(device))
        self._scale = float(vae.config.scaling_factor)
        self._shift = float(vae.config.shift_factor or 0.0)
        self.downsampling = 2 ** (len(vae.config.block_out_channels) - 1)
        """Pixels per latent along one side."""

    @classmethod
    def from_pretrained(
        cls,
        path: Path | str,
        *,
        precision: Precision,
        device: torch.device | str,
        activation_checkpointing: bool = False,
    ) -> Self:
        """Loads the autoencoder of a pipeline folder or hub name.

        Args:
            path: the folder or the name.
            precision: of the weights.
            device: where it lives.
            activation_checkpointing: recompute the activations where a gradient passes through.
        """
        vae = AutoencoderKL.from_pretrained(local_name(path), subfolder="vae", dtype=dtype_of(precision))
        if activation_checkpointing:
            vae.enable_gradient_checkpointing()
        return cls(vae, device=device)

    def make_rows_independent(self) -> None:
        """Let a picture be the same alone and in any batch, bit for bit; see ``models.independent_rows``."""
        make_rows_independent(self._vae)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(c, h/f, w/f) of an image of that size."""
        return int(self._vae.config.latent_channels), height // self.downsampling, width // self.downsampling

    def encode(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents (b, c, h/f, w/f) of images (b, 3, h, w) in [-1, 1].

        They are the mode of the posterior, or a draw from it where ``generator`` is given.
        """
        posterior = self._vae.encode(images.to(self._vae.device, self._vae.dtype)).latent_dist
        latents: Tensor = posterior.mode() if generator is None else posterior.sample(generator)
        return (latents - self._shift) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Images (b, 3, h, w), about [-1, 1] and not clamped, of scaled latents (b, c, h/f, w/f)."""
        unscaled = latents.to(self._vae.device, self._vae.dtype) / self._scale + self._shift
        images: Tensor = self._vae.decode(unscaled, return_dict=False)[0]
        return images


def to_uint8(images: Tensor) -> Tensor:
    """Bytes (b, h, w, 3) of images (b, 3, h, w) in [-1, 1]; what lies outside is clamped."""
    levels = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return rearrange(levels.round().to(torch.uint8), "b c h w -> b h w c")
