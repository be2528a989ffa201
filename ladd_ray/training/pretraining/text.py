"""Stage 2, the text towers: contrastive (CLIP) against a small image encoder that is thrown away after.

Shapes: b batch, h w pixels, p projected width of one tower.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ladd_ray.data import stickers
from ladd_ray.models.embedded import EmbeddedShape, build_text_tower
from ladd_ray.models.tokenizer import build_tokenizer
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.scenes import random_scenes
from ladd_ray.training.pretraining.settings import PretrainConfig


class ContrastivePair(nn.Module):
    """Two text towers, each against its own half of the image embedding."""

    def __init__(self, towers: list[nn.Module], width: int, *, image_channels: int = 3) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.image_encoder = nn.Sequential(
            nn.Conv2d(image_channels, 32, 4, stride=4), nn.GELU(),
            nn.Conv2d(32, 128, 3, stride=2, padding=1), nn.GroupNorm(8, 128), nn.GELU(),
            nn.Conv2d(128, 128, 3, stride=2, padding=1), nn.GroupNorm(8, 128), nn.GELU(),
            nn.Conv2d(128, 128, 3, padding=1), nn.GroupNorm(8, 128), nn.GELU(),
            nn.Flatten(), nn.Linear(128 * 16, 2 * width),
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The symmetric contrastive loss, and the share of captions that find their own image."""
        halves = self.image_encoder(images).chunk(2, dim=1)
        losses, hits = zip(
            *(self._one(half, tower(tokens).text_embeds) for half, tower in zip(halves, self.towers, strict=True)),
            strict=True,
        )
        return torch.stack(losses).mean(), torch.stack(hits).mean()

    def _one(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.log_scale.exp() * F.normalize(text.float()) @ F.normalize(image.float()).T
        own = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return loss, (logits.argmax(1) == own).float().mean()


def vocabulary() -> list[str]:
    """Every word of the embedded world's captions."""
    return sorted({word for caption in stickers.captions(0, 0, count=20_000) for word in caption.split()})


def train_text_towers(config: PretrainConfig, shape: EmbeddedShape) -> tuple[list[nn.Module], object]:
    """Both towers and their tokenizer."""
    torch.manual_seed(config.seed)
    tokenizer = build_tokenizer(vocabulary(), config.root / "tokenizer", max_tokens=shape.max_tokens)
    towers = [build_text_tower(shape, tokenizer) for _ in range(2)]
    pair = ContrastivePair(towers, shape.text_width).to(config.device)

    def loss() -> tuple[Tensor, dict[str, float]]:
        images, captions = random_scenes(config.text.batch_size)
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.text.bf16):
            value, accuracy = pair(images.to(config.device), tokens.to(config.device))
        return value, {"accuracy": accuracy.item()}

    average = fit(
        pair, loss, name="text", settings=config.text, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip
    return list(average.towers), tokenizer
