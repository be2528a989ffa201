"""Stage 1, the autoencoder: mean absolute error of the pixels, and a little KL."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ladd_ray.models.embedded import EmbeddedShape, build_autoencoder
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.scenes import numbered_scenes, random_scenes
from ladd_ray.training.pretraining.settings import PretrainConfig


def train_autoencoder(config: PretrainConfig, shape: EmbeddedShape) -> nn.Module:
    """The trained autoencoder, with scale and shift set so that latents have mean 0 and deviation 1."""
    torch.manual_seed(config.seed)
    autoencoder = build_autoencoder(shape).to(config.device, memory_format=torch.channels_last)
    settings = config.autoencoder

    def loss() -> tuple[Tensor, dict[str, float]]:
        images, _ = random_scenes(settings.batch_size)
        images = images.to(config.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.bf16):
            posterior = autoencoder.encode(images).latent_dist
            reconstruction = autoencoder.decode(posterior.sample()).sample
        error = reconstruction.float() - images
        divergence = posterior.kl().sum() / posterior.mean.numel()
        metrics = {"psnr": _psnr(error), "kl": divergence.item()}
        return error.abs().mean() + config.kl_weight * divergence, metrics

    average = fit(
        autoencoder, loss, name="autoencoder", settings=settings, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip
    _set_scale(average, config.device)
    return average


@torch.no_grad()
def heldout_psnr(autoencoder: nn.Module, device: str, *, count: int = 512) -> float:
    """PSNR in dB of reconstructions of held-out scenes."""
    images, _ = numbered_scenes(list(range(count)), split="heldout")
    errors = [
        autoencoder.decode(autoencoder.encode(part.to(device)).latent_dist.mode()).sample.clamp(-1, 1).cpu() - part
        for part in images.split(64)
    ]
    return _psnr(torch.cat(errors))


@torch.no_grad()
def _set_scale(autoencoder: nn.Module, device: str) -> None:
    images, _ = numbered_scenes(list(range(1024)))
    latents = torch.cat([autoencoder.encode(part.to(device)).latent_dist.mode() for part in images.split(64)])
    autoencoder.register_to_config(
        shift_factor=round(latents.mean().item(), 4), scaling_factor=round(1 / latents.std().item(), 4)
    )


def _psnr(error: Tensor) -> float:
    """For pixels in [-1, 1], whose range is 2."""
    return float(10 * torch.log10(4 / error.detach().square().mean()))
