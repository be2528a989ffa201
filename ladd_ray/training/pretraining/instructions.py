"""Stage 3, the words of edit instructions: new tokens for towers that know captions only.

Every new word becomes one token whose embedding is the only thing that learns, contrastively against the pair of
pictures (before, after). Captions therefore keep exactly the embeddings that a transformer was trained with. [ours]

Shapes: b batch, h w pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ladd_ray.data import edits, stickers
from ladd_ray.models.embedded import EmbeddedShape
from ladd_ray.models.tokenizer import add_words
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.scenes import to_images
from ladd_ray.training.pretraining.settings import PretrainConfig
from ladd_ray.training.pretraining.text import ContrastivePair

NUM_INSTRUCTIONS = 3000
"""Enough to meet every word of the instructions many times."""


def instruction_words() -> list[str]:
    """Every word of the embedded world's instructions, of both splits: a user may ask for anything."""
    splits: tuple[stickers.Split, ...] = ("train", "heldout")
    texts = [text for split in splits for text in edits.instructions(0, 0, count=NUM_INSTRUCTIONS, split=split)]
    return sorted({word for text in texts for word in text.split()})


def train_instruction_words(
    config: PretrainConfig, shape: EmbeddedShape, *, towers: list[nn.Module], tokenizer: Any
) -> tuple[list[nn.Module], Any]:
    """The towers and the tokenizer with the words of instructions added."""
    torch.manual_seed(config.seed)
    known = len(tokenizer)
    tokenizer = add_words(tokenizer, instruction_words(), config.root / "tokenizer_instructions")
    for tower in towers:
        _only_new_rows_learn(tower, known=known, total=len(tokenizer))
    pair = ContrastivePair(towers, shape.text_width, image_channels=6).to(config.device)
    settings = config.instructions

    def loss() -> tuple[Tensor, dict[str, float]]:
        images, texts = random_edits(settings.batch_size)
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=settings.bf16):
            value, accuracy = pair(images.to(config.device), tokens.to(config.device))
        return value, {"accuracy": accuracy.item()}

    average = fit(
        pair, loss, name="instructions", settings=settings, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip
    return list(average.towers), tokenizer


def random_edits(count: int) -> tuple[Tensor, list[str]]:
    """Training edits drawn with torch's global generator: before and after (b, 6, h, w), and instructions."""
    drawn = [edits.edit(0, index) for index in torch.randint(0, 2**40, (count,)).tolist()]
    before = to_images(np.stack([stickers.render(one.source) for one in drawn]))
    after = to_images(np.stack([stickers.render(one.target) for one in drawn]))
    return torch.cat([before, after], dim=1), [one.instruction for one in drawn]


@torch.no_grad()
def _only_new_rows_learn(tower: Any, *, known: int, total: int) -> None:
    old = tower.get_input_embeddings().weight
    wider = nn.Embedding(total, old.shape[1], device=old.device)
    nn.init.normal_(wider.weight, std=old.std().item())
    wider.weight[:known] = old
    tower.requires_grad_(False)
    tower.set_input_embeddings(wider)
    tower.config.vocab_size = total
    is_new = (torch.arange(total, device=old.device) >= known).unsqueeze(1)
    # Adam moves nothing whose gradient is always zero, so that the known rows stay bit for bit.
    wider.weight.register_hook(lambda gradient: gradient * is_new)
