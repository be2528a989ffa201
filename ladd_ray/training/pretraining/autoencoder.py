"""Stage 1, the autoencoder: a projection on principal components as encoder, and a decoder that learns.

The encoder is final before the first step, so the transformer may be trained at the same time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ladd_ray.models.embedded import EmbeddedShape, build_autoencoder
from ladd_ray.models.pca_encoder import set_pca_encoder
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.scenes import numbered_scenes, random_scenes
from ladd_ray.training.pretraining.settings import PretrainConfig


def untrained_autoencoder(config: PretrainConfig, shape: EmbeddedShape) -> Any:
    """An autoencoder with its final encoder; scale and shift make latents have mean 0 and deviation 1."""
    torch.manual_seed(config.seed)
    autoencoder = build_autoencoder(shape)
    images, _ = numbered_scenes(list(range(1024)))
    set_pca_encoder(autoencoder, images)
    autoencoder.encoder.requires_grad_(False)
    _set_scale(autoencoder, images)
    return autoencoder.to(config.device, memory_format=torch.channels_last)


def train_decoder(autoencoder: Any, config: PretrainConfig) -> Any:
    """The autoencoder with a decoder that minimises the mean absolute error of the pixels."""
    settings = config.autoencoder

    def loss() -> tuple[Tensor, dict[str, float]]:
        images, _ = random_scenes(settings.batch_size)
        images = images.to(config.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.bf16):
            with torch.no_grad():
                latents = autoencoder.encode(images).latent_dist.sample()
            error = autoencoder.decode(latents).sample.float() - images
        return error.abs().mean(), {"psnr": _psnr(error)}

    return fit(
        autoencoder, loss, name="autoencoder", settings=settings, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip


@torch.no_grad()
def heldout_psnr(autoencoder: Any, device: str, *, count: int = 512) -> float:
    """PSNR in dB of reconstructions of held-out scenes."""
    images, _ = numbered_scenes(list(range(count)), split="heldout")
    errors = [
        autoencoder.decode(autoencoder.encode(part.to(device)).latent_dist.mode()).sample.clamp(-1, 1).cpu() - part
        for part in images.split(64)
    ]
    return _psnr(torch.cat(errors))


@torch.no_grad()
def _set_scale(autoencoder: Any, images: Tensor) -> None:
    latents = autoencoder.encode(images).latent_dist.mode()
    autoencoder.register_to_config(
        shift_factor=round(latents.mean().item(), 4), scaling_factor=round(1 / latents.std().item(), 4)
    )


def _psnr(error: Tensor) -> float:
    """For pixels in [-1, 1], whose range is 2."""
    return float(10 * torch.log10(4 / error.detach().square().mean()))
