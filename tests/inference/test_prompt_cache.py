"""Prompts that are asked for again are not encoded again."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ladd_ray.inference.prompt_cache import PromptCache
from ladd_ray.interfaces import Condition


class Encoder:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, prompts: Sequence[str]) -> Condition:
        self.calls.append(list(prompts))
        return Condition(torch.tensor([[float(len(prompt))] for prompt in prompts]), torch.zeros(len(prompts), 1))


def test_the_second_time_is_a_hit() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=2)
    (first,), (second,) = cache(["apple"]), cache(["apple"])
    assert (first.hit, second.hit) == (False, True)
    assert second.prompt is first.prompt
    assert encoder.calls == [["apple"]]


def test_prompts_that_come_together_are_encoded_in_one_call_and_once_each() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=8)
    cache(["b"])
    found = cache(["apple", "b", "fig", "apple"])
    assert encoder.calls == [["b"], ["apple", "fig"]]
    assert [each.hit for each in found] == [False, True, False, False]
    assert [float(each.prompt.prompt_embeds) for each in found] == [5, 1, 3, 5]


def test_the_prompt_used_longest_ago_goes_first() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        cache([prompt])
    assert encoder.calls == [["a"], ["b"], ["c"], ["b"]]


def test_more_prompts_at_once_than_there_is_room_for() -> None:
    cache = PromptCache(Encoder(), size=1)
    assert [float(each.prompt.prompt_embeds) for each in cache(["aa", "b", "aa"])] == [2, 1, 2]
    assert [each.hit for each in cache(["aa", "b"])] == [True, False]


def test_a_cache_of_no_size_keeps_nothing() -> None:
    encoder = Encoder()
    cache = PromptCache(encoder, size=0)
    assert not cache(["a"])[0].hit
    assert not cache(["a"])[0].hit


def test_no_prompts_call_nobody() -> None:
    encoder = Encoder()
    assert PromptCache(encoder, size=1)([]) == []
    assert encoder.calls == []
