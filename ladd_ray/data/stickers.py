"""The embedded world "stickers": captioned scenes of emoji artwork, each a pure function of (seed, index).

A scene has one to three objects in one drawing style on a background of one colour, and its caption is exact.
Categories follow GenEval (single, two, counting, position), plus negation, a weakness LADD's authors report.

Split: a scene is a set of combinations, (style, style, concept), (pair, concept, concept) and
(template, category, concept), of which a hash holds out one in twelve. A `train` scene contains no held-out
combination, a `heldout` scene at least one.

Shapes: h, w height and width of the scene; s side of an object in pixels; last axis: red, green, blue.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations as unordered_pairs
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data.artwork import CONCEPTS, STYLES, sprite

__all__ = [
    "BACKGROUNDS", "CATEGORIES", "CONCEPTS", "RELATIONS", "STYLES", "TEMPLATES", "Scene", "Split", "Sticker",
    "captions", "combinations", "is_held_out", "render", "scene",
]  # fmt: skip

Split = Literal["train", "heldout"]

BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "white": (250, 250, 250), "gray": (128, 132, 140), "blue": (58, 98, 206), "green": (150, 220, 140),
    "yellow": (252, 224, 92), "orange": (246, 156, 64), "pink": (252, 176, 206), "purple": (146, 102, 206),
}  # fmt: skip
"""Background colour words and their (red, green, blue)."""

CATEGORIES: Mapping[str, float] = {
    "single": 0.45, "two": 0.20, "counting": 0.15, "position": 0.15, "negation": 0.05,
}  # fmt: skip
"""Kinds of scene and how often each is drawn, in both splits."""

RELATIONS: Mapping[str, Literal["horizontal", "vertical"]] = {
    "left of": "horizontal", "right of": "horizontal", "above": "vertical", "below": "vertical",
}  # fmt: skip
"""Relations of the first object to the second, and the axis along which the two are placed."""

TEMPLATES: tuple[str, ...] = (
    "{style} sticker of {subject} on {background} background",
    "{subject} in {style} style on {background} background",
    "{background} background with {subject} in {style} style",
)
"""Sentence frames. No caption is longer than sixteen words."""

HELD_OUT_SHARE = 1 / 12
"""Share of the combinations that the train split never shows."""

MIN_SIDE = 32
"""Smallest height and width at which three objects can still be told apart, in pixels."""

NUMBERS: Mapping[int, str] = {2: "two", 3: "three"}
PLURALS: Mapping[str, str] = {
    "fox": "foxes", "fish": "fish", "octopus": "octopuses", "butterfly": "butterflies",
    "strawberry": "strawberries", "bus": "buses", "cactus": "cacti",
}  # fmt: skip

Combination = tuple[str, str, str]


@dataclass(frozen=True)
class Sticker:
    """One object, `concept` drawn in `style`, in a square of side `size` with its corner at (left, top)."""

    concept: str
    style: str
    left: int
    top: int
    size: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels, the last two exclusive."""
        return self.left, self.top, self.left + self.size, self.top + self.size


@dataclass(frozen=True)
class Scene:
    """Everything that is known of a picture. `render` needs objects, background, height and width only.

    `relation` is set for position and holds from the first object to the second; `absent` for negation.
    """

    objects: tuple[Sticker, ...]
    background: str
    style: str
    caption: str
    category: str
    height: int
    width: int
    relation: str | None = None
    absent: str | None = None


def scene(seed: int, index: int, *, split: Split = "train", height: int = 64, width: int = 64) -> Scene:
    """Draw scene `index` of the endless sequence `seed`: the same arguments always give the same scene.

    Caption and objects do not depend on height and width, which are in pixels; only the layout does.

    Raises:
        ValueError: a side is shorter than `MIN_SIDE`.
    """
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"height {height} and width {width} must both be at least {MIN_SIDE} pixels")
    # A text seed is hashed with SHA-512: the same on every machine, and nearby indices are unrelated.
    generator = random.Random(f"stickers/{split}/{seed}/{index}")
    category = generator.choices(list(CATEGORIES), weights=list(CATEGORIES.values()))[0]
    subject = _draw_subject(generator, category, split=split)
    background = generator.choice(list(BACKGROUNDS))
    return Scene(
        caption=_caption(generator, subject, background),
        objects=_place(generator, subject, height=height, width=width),
        background=background,
        style=subject.style,
        category=category,
        height=height,
        width=width,
        relation=subject.relation,
        absent=subject.absent,
    )


def captions(seed: int, start: int, *, count: int, split: Split = "train") -> list[str]:
    """The captions of scenes `start` to `start + count - 1`, without rendering them."""
    return [scene(seed, index, split=split).caption for index in range(start, start + count)]


def render(scene: Scene) -> NDArray[np.uint8]:
    """Paint a scene: (h, w, 3) uint8, red, green, blue."""
    background = np.array(BACKGROUNDS[scene.background], dtype=np.uint8)
    image = np.tile(background, (scene.height, scene.width, 1))
    for item in scene.objects:
        left, top, right, bottom = item.box
        pixels = sprite(item.concept, item.style, size=item.size)
        transparency = 255 - pixels[..., 3:].astype(np.uint16)
        behind = (image[top:bottom, left:right] * transparency + 127) // 255
        image[top:bottom, left:right] = pixels[..., :3] + behind.astype(np.uint8)
    return image


def combinations(scene: Scene) -> frozenset[Combination]:
    """What a scene puts together, in the terms of the split. An absent object counts: captions name it."""
    concepts = [item.concept for item in scene.objects]
    return frozenset(_combinations(scene.category, scene.style, [*concepts, scene.absent]))


@lru_cache(maxsize=8192)
def is_held_out(combination: Combination) -> bool:
    """Whether a combination belongs to the held-out split: decided by SHA-256, so the same everywhere."""
    digest = hashlib.sha256("/".join(combination).encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


@dataclass(frozen=True)
class _Subject:
    """What a scene is about, before it has a place and a background."""

    category: str
    style: str
    concepts: tuple[str, ...]
    phrase: str
    relation: str | None = None
    absent: str | None = None


def _draw_subject(generator: random.Random, category: str, *, split: Split) -> _Subject:
    """Draw until the subject belongs to the split. As the category is given, both splits have one mix."""
    while True:
        subject = _any_subject(generator, category)
        parts = _combinations(category, subject.style, [*subject.concepts, subject.absent])
        if any(map(is_held_out, parts)) == (split == "heldout"):
            return subject


def _any_subject(generator: random.Random, category: str) -> _Subject:
    style = generator.choice(STYLES)
    first, second = generator.sample(list(CONCEPTS), 2)
    if category == "two":
        return _Subject(category, style, (first, second), f"{_a(first)} and {_a(second)}")
    if category == "counting":
        count = generator.choice(list(NUMBERS))
        plural = PLURALS.get(first, f"{first}s")
        return _Subject(category, style, (first,) * count, f"{NUMBERS[count]} {plural}")
    if category == "position":
        relation = generator.choice(list(RELATIONS))
        phrase = f"{_a(first)} {relation} {_a(second)}"
        return _Subject(category, style, (first, second), phrase, relation=relation)
    if category == "negation":
        return _Subject(category, style, (first,), f"{_a(first)} without {_a(second)}", absent=second)
    return _Subject(category, style, (first,), _a(first))


def _combinations(category: str, style: str, concepts: Iterable[str | None]) -> Iterator[Combination]:
    """Single scenes have no template combination: every concept must be seen alone in some style."""
    names = sorted({concept for concept in concepts if concept is not None})
    yield from (("style", style, name) for name in names)
    yield from (("pair", first, second) for first, second in unordered_pairs(names, 2))
    if category != "single":
        yield from (("template", category, name) for name in names)


def _caption(generator: random.Random, subject: _Subject, background: str) -> str:
    template = generator.choice(TEMPLATES)
    return template.format(style=subject.style, subject=subject.phrase, background=_a(background))


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _place(generator: random.Random, subject: _Subject, *, height: int, width: int) -> tuple[Sticker, ...]:
    """Give every object its own cell of a grid, so that none overlap, and a free size and place inside it."""
    count = len(subject.concepts)
    rows, columns = _grid(generator, subject, height=height, width=width)
    cell_height, cell_width = height // rows, width // columns
    cells = generator.sample(range(rows * columns), count)
    if subject.relation is not None:
        cells.sort(reverse=subject.relation in ("right of", "below"))
    smallest, largest = (0.69, 0.94) if count == 1 else (0.78, 0.96)
    # Related objects stay near the common axis: far off it, "left of" would read as "above".
    freedom = 1.0 if subject.relation is None else 0.4
    stickers = []
    for concept, cell in zip(subject.concepts, cells, strict=True):
        # Even sizes only: half as many scaled drawings to keep.
        size = 2 * math.floor(generator.uniform(smallest, largest) * min(cell_height, cell_width) / 2)
        row, column = divmod(cell, columns)
        left = column * cell_width + _offset(generator, cell_width - size, freedom=freedom)
        top = row * cell_height + _offset(generator, cell_height - size, freedom=freedom)
        stickers.append(Sticker(concept, subject.style, left=left, top=top, size=size))
    return tuple(stickers)


def _offset(generator: random.Random, room: int, *, freedom: float) -> int:
    return round(room * (0.5 + freedom * (generator.random() - 0.5)))


def _grid(generator: random.Random, subject: _Subject, *, height: int, width: int) -> tuple[int, int]:
    """The (rows, columns) with the largest cells among those that hold the subject's objects."""
    if subject.relation is not None:
        return (1, 2) if RELATIONS[subject.relation] == "horizontal" else (2, 1)
    grids = {1: [(1, 1)], 2: [(1, 2), (2, 1)], 3: [(1, 3), (3, 1), (2, 2)]}[len(subject.concepts)]
    cell_sides = [min(height // rows, width // columns) for rows, columns in grids]
    largest = max(cell_sides)
    return generator.choice([grid for grid, side in zip(grids, cell_sides, strict=True) if side == largest])
