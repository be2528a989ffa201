"""Noun phrases and captions: articles, plurals, and what is left out when words run short."""

import random

import pytest

from ladd_ray.data.artwork import CONCEPTS
from ladd_ray.data.wording import MAX_WORDS, caption, counted, subject_phrase


@pytest.mark.parametrize(
    ("noun", "count", "phrase"),
    [
        ("fox", 1, "a fox"),
        ("owl", 1, "an owl"),
        ("bus", 2, "two buses"),
        ("fish", 3, "three fish"),
        ("key", 2, "two keys"),
    ],
)
def test_counted(noun: str, count: int, phrase: str) -> None:
    assert counted(noun, count) == phrase


def test_subject_phrases() -> None:
    assert subject_phrase(["owl"]) == "an owl"
    assert subject_phrase(["fox", "fox", "fox"]) == "three foxes"
    assert subject_phrase(["fox", "owl"]) == "a fox and an owl"
    assert subject_phrase(["fox", "owl", "fox"]) == "two foxes and an owl"
    assert subject_phrase(["fox", "owl", "bee"]) == "a fox, an owl and a bee"
    assert subject_phrase(["fox", "owl"], relation="left of") == "a fox left of an owl"
    assert subject_phrase(["fox"], absent="owl") == "a fox without an owl"


def test_captions_name_the_style_while_there_is_room() -> None:
    drawn = {caption(random.Random(seed), "an owl", style="flat", background="orange") for seed in range(30)}
    assert drawn == {
        "flat sticker of an owl on an orange background",
        "an owl in flat style on an orange background",
        "an orange background with an owl in flat style",
    }
    longest = subject_phrase(sorted(CONCEPTS, key=lambda concept: -len(concept.split()))[:3])
    text = caption(random.Random(0), longest, style="glossy 3d", background="gray")
    assert text == f"{longest} on a gray background"
    assert len(text.split()) <= MAX_WORDS
