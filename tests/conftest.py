"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ladd_ray.models import embedded
from ladd_ray.models.tokenizer import build_tokenizer

# As make test has it: golden losses are those of one thread, and two workers of two threads each crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

WORDS = ("a", "red", "blue", "green", "apple", "banana", "cat", "left", "of", "on", "background", "two")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete Stable Diffusion 3 folder with random weights: 2 blocks, width 128, 64 px images."""
    root = tmp_path_factory.mktemp("tiny")
    shape = embedded.EmbeddedShape(vae_channels=(8, 8, 8, 8), text_width=32, text_layers=2, max_tokens=12, depth=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = build_tokenizer(WORDS, root / "words", max_tokens=shape.max_tokens)
        pipeline = embedded.assemble(
            embedded.build_transformer(shape),
            embedded.build_autoencoder(shape),
            (embedded.build_text_tower(shape, tokenizer), embedded.build_text_tower(shape, tokenizer)),
            tokenizer,
            shape=shape,
        )
    pipeline.save_pretrained(root / "pipeline")
    return root / "pipeline"
