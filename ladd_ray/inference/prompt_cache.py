"""Encoded prompts that are likely to be asked for again.

Prompts are encoded one at a time, so that an embedding never depends on which others came with it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ladd_ray.interfaces import Condition


class Encoded(NamedTuple):
    """A prompt as the network reads it."""

    prompt: Condition
    """One row."""
    hit: bool
    """Whether it was there already."""


class PromptCache:
    """The prompts used last. Safe to use from several threads."""

    def __init__(self, encode: Callable[[Sequence[str]], Condition], *, size: int) -> None:
        """Keep so many prompts of an encoder; 0 keeps none."""
        self._encode, self._size = encode, size
        self._kept: OrderedDict[str, Condition] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, prompt: str) -> Encoded:
        """The encoded prompt."""
        with self._lock:
            if prompt in self._kept:
                self._kept.move_to_end(prompt)
                return Encoded(self._kept[prompt], hit=True)
        encoded = self._encode([prompt])
        with self._lock:
            self._kept[prompt] = encoded
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return Encoded(encoded, hit=False)
