"""Prompts that are asked for again are not encoded again."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ladd_ray.inference.prompt_cache import PromptCache
from ladd_ray.interfaces import Condition


class Encoder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, prompts: Sequence[str]) -> Condition:
        self.seen += prompts
        return Condition(torch.tensor([[float(len(prompts[0]))]]), torch.zeros(1, 1))


def test_the_second_time_is_a_hit() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=2)
    first, second = cache("apple"), cache("apple")
    assert (first.hit, second.hit) == (False, True)
    assert second.prompt is first.prompt
    assert float(first.prompt.prompt_embeds) == 5
    assert encoder.seen == ["apple"]


def test_the_prompt_used_longest_ago_goes_first() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        cache(prompt)
    assert encoder.seen == ["a", "b", "c", "b"]


def test_a_cache_of_no_size_keeps_nothing() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=0)
    assert not cache("a").hit
    assert not cache("a").hit
