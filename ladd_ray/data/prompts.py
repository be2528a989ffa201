"""Prompts: those of the embedded world, or a text file with one prompt per line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from ladd_ray.data import stickers
from ladd_ray.data_sections import EMBEDDED


def read_prompts(source: str, count: int, *, split: stickers.Split, seed: int, start: int = 0) -> list[str]:
    """``count`` prompts; a file with fewer lines is repeated.

    Args:
        source: 'stickers' or the path of a text file.
        count: how many.
        split: part of the embedded world; files have no split.
        seed: of the embedded world's captions.
        start: number of the first of them.

    Raises:
        ValueError: the file does not exist or holds no prompt.
    """
    if source == EMBEDDED:
        return stickers.captions(seed, start, count=count, split=split)
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(f"no prompt file at {path}: give a text file with one prompt per line, or '{EMBEDDED}'")
    prompts = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"{path} holds no prompt: write one per line")
    first = start % len(prompts)
    return list(islice(cycle(prompts), first, first + count))


def prompts_fingerprint(prompts: Sequence[str]) -> str:
    """16 hex digits that change when a prompt or their order changes."""
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16]
