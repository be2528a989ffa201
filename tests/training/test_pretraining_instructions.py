"""Towers learn the words of instructions and keep what they knew, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ladd_ray.models.embedded import EmbeddedShape, build_text_tower
from ladd_ray.models.tokenizer import build_tokenizer
from ladd_ray.training.pretraining.instructions import instruction_words, random_edits, train_instruction_words
from ladd_ray.training.pretraining.run import pretrain
from ladd_ray.training.pretraining.settings import PretrainConfig, StageSettings
from ladd_ray.training.pretraining.text import vocabulary

SHAPE = EmbeddedShape(text_width=16, text_layers=1)
CAPTIONS = ["noto sticker of two foxes on a pink background", "a cat left of a key in flat style on a white background"]


def test_captions_keep_their_embeddings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(vocabulary(), tmp_path / "words", max_tokens=SHAPE.max_tokens)
    towers = [build_text_tower(SHAPE, tokenizer).eval() for _ in range(2)]
    before = tokenizer(CAPTIONS, padding="max_length", return_tensors="pt").input_ids
    expected = [tower(before).text_embeds for tower in towers]
    known, rows = len(tokenizer), towers[0].get_input_embeddings().weight.clone()

    settings = StageSettings(steps=2, batch_size=4, lr_warmup_steps=1, ema_decay=0.0)
    config = PretrainConfig(directory=str(tmp_path), threads=1, instructions=settings)
    learned, wider = train_instruction_words(config, SHAPE, towers=towers, tokenizer=tokenizer)

    after = wider(CAPTIONS, padding="max_length", return_tensors="pt").input_ids
    for tower, old in zip(learned, expected, strict=True):
        assert torch.equal(tower(after).text_embeds, old)
    table = learned[0].get_input_embeddings().weight
    assert len(table) == len(wider) > known
    assert torch.equal(table[:known], rows)
    new = wider.convert_tokens_to_ids(wider.tokenize("replace remove"))
    assert min(new) >= known
    assert (tmp_path / "instructions.jsonl").is_file()


def test_words_join_before_the_transformer_and_need_towers(tmp_path: Path) -> None:
    stages = PretrainConfig().stages
    assert stages.index("text") < stages.index("instructions") < stages.index("transformer")
    with pytest.raises(ValueError, match="run the stage text first"):
        pretrain(PretrainConfig(directory=str(tmp_path), threads=1, stages=("instructions",)))


def test_instructions_fit_and_have_no_unknown_word(tmp_path: Path) -> None:
    words = set(instruction_words())
    images, texts = random_edits(3)
    assert images.shape == (3, 6, 64, 64)
    assert {"replace", "remove", "background", "left", *" ".join(texts).split()} <= words
    assert (images[:, :3] != images[:, 3:]).any()
