"""Stage 4, the transformer: flow matching on latents that were encoded once (Esser et al. 2024, section 3).

    loss = mean |denoiser(x_sigma, sigma, prompt) - (noise - x0)|^2,    sigma ~ logit-normal

Shapes: n scenes, b batch, c h w latents.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from ladd_ray.algorithm import flow
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.embedded import EmbeddedShape, build_transformer
from ladd_ray.models.positions import learn_positions
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.scenes import numbered_scenes
from ladd_ray.training.pretraining.settings import PretrainConfig

ENCODING_BATCH = 64


def train_transformer(
    config: PretrainConfig, shape: EmbeddedShape, *, autoencoder: Autoencoder, encoder: PromptEncoder
) -> nn.Module:
    """The trained SD3 transformer."""
    latents, captions = encoded_scenes(config, autoencoder, path=config.root / "latents.pt")
    torch.manual_seed(config.seed)
    denoiser = SD3Denoiser(learn_positions(build_transformer(shape))).to(config.device)
    settings = config.transformer
    device = torch.device(config.device)

    def loss() -> tuple[Tensor, dict[str, float]]:
        rows = torch.randint(len(latents), (settings.batch_size,))
        empty = torch.rand(settings.batch_size) < config.prompt_dropout
        texts = ["" if drop else captions[row] for row, drop in zip(rows.tolist(), empty.tolist(), strict=True)]
        x0 = latents[rows].to(device)
        noise = torch.randn(x0.shape).to(device)
        sigma = flow.logit_normal(torch.randn(len(x0)), mean=config.noise_mean, std=config.noise_std).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            with torch.no_grad():
                prompt = encoder.encode(texts)
            predicted = denoiser(flow.add_noise(x0, noise, sigma), sigma, *prompt)
        return (predicted.float() - flow.velocity(x0, noise)).square().mean(), {}

    average = fit(
        denoiser, loss, name="transformer", settings=settings, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip
    transformer: nn.Module = average.transformer
    return transformer


@torch.no_grad()
def encoded_scenes(config: PretrainConfig, autoencoder: Autoencoder, *, path: Path) -> tuple[Tensor, list[str]]:
    """Latents (n, c, h, w) and captions of the first ``num_scenes`` training scenes, kept in ``path``."""
    if path.exists():
        stored = torch.load(path, weights_only=True)
        if len(stored["captions"]) == config.num_scenes:
            return stored["latents"], stored["captions"]
    parts: list[Tensor] = []
    captions: list[str] = []
    for start in trange(0, config.num_scenes, ENCODING_BATCH, desc="encode scenes", mininterval=5):
        stop = min(start + ENCODING_BATCH, config.num_scenes)
        images, texts = numbered_scenes(list(range(start, stop)))
        parts.append(autoencoder.encode(images).float().cpu())
        captions += texts
    latents = torch.cat(parts)
    temporary = path.with_suffix(".tmp")
    torch.save({"latents": latents, "captions": captions}, temporary)
    temporary.replace(path)
    return latents, captions
