"""Encoded prompts that are likely to be asked for again."""

from __future__ import annotations

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
    """The prompts used last. For one thread."""

    def __init__(self, encode: Callable[[Sequence[str]], Condition], *, size: int) -> None:
        """Keep so many prompts of an encoder; 0 keeps none."""
        self._encode, self._size = encode, size
        self._kept: OrderedDict[str, Condition] = OrderedDict()

    def __call__(self, prompts: Sequence[str]) -> list[Encoded]:
        """The encoded prompts; those that are not there yet are encoded together."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        if missing:
            self._kept |= zip(missing, _rows(self._encode(missing)), strict=True)
        found = [Encoded(self._kept[prompt], hit=prompt not in missing) for prompt in prompts]
        for prompt in prompts:
            self._kept.move_to_end(prompt)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found


def _rows(encoded: Condition) -> list[Condition]:
    """Copies, so that a prompt that is kept does not keep all those that came with it."""
    return [
        Condition(embeds.clone(), pooled.clone())
        for embeds, pooled in zip(encoded.prompt_embeds.split(1), encoded.pooled_prompt_embeds.split(1), strict=True)
    ]
