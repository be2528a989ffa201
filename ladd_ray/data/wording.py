"""The English of the embedded world: objects as noun phrases, and captions around them."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

TEMPLATES: tuple[str, ...] = (
    "{style} sticker of {subject} on {background} background",
    "{subject} in {style} style on {background} background",
    "{background} background with {subject} in {style} style",
)
"""Sentence frames. No caption is longer than `MAX_WORDS`."""

MAX_WORDS = 16
"""Longest caption or instruction, in words."""

NUMBERS: Mapping[int, str] = {2: "two", 3: "three"}

PLURALS: Mapping[str, str] = {
    "fox": "foxes", "fish": "fish", "octopus": "octopuses", "butterfly": "butterflies",
    "strawberry": "strawberries", "bus": "buses", "cactus": "cacti",
}  # fmt: skip


def with_article(noun: str) -> str:
    """`a fox`, `an owl`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    """`foxes`, `owls`."""
    return PLURALS.get(noun, f"{noun}s")


def counted(noun: str, count: int) -> str:
    """One to three objects of a kind: `a fox`, `two foxes`, `three foxes`."""
    return with_article(noun) if count == 1 else f"{NUMBERS[count]} {plural(noun)}"


def subject_phrase(concepts: Sequence[str], *, relation: str | None = None, absent: str | None = None) -> str:
    """`two foxes`, `a fox and an owl`, `two foxes and an owl`, `a fox left of an owl`, `a fox without an owl`.

    A relation holds from the first concept to the second.
    """
    parts = [counted(concept, count) for concept, count in Counter(concepts).items()]
    if relation is not None:
        return f"{parts[0]} {relation} {parts[1]}"
    if absent is not None:
        return f"{parts[0]} without {with_article(absent)}"
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def caption(generator: random.Random, subject: str, *, style: str, background: str) -> str:
    """Put the noun phrase `subject` into one of `TEMPLATES`, drawn with `generator`.

    Three long names of different objects leave no words for the style: it is left out.
    """
    ground = with_article(background)
    text = generator.choice(TEMPLATES).format(style=style, subject=subject, background=ground)
    return text if len(text.split()) <= MAX_WORDS else f"{subject} on {ground} background"
