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
from itertools import pairwise, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data.artwork import CONCEPTS, STYLES, sprite
from ladd_ray.data.wording import NUMBERS, caption, subject_phrase

__all__ = [
    "BACKGROUNDS", "CATEGORIES", "CONCEPTS", "FRAMES", "RASTER", "RELATIONS", "STYLES", "Combination", "Scene",
    "Split", "Sticker", "captions", "combinations", "is_held_out", "render", "scene",
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

HELD_OUT_SHARE = 1 / 12
"""Share of the combinations that the train split never shows."""

RASTER = 16
"""Objects begin and end at multiples of this, in pixels: one patch of 2 x 2 latents. A drawing of one size then has one
look to the transformer, and not 256, so that a small model can learn all drawings in an hour on a CPU."""

MIN_SIDE = 4 * RASTER
"""Smallest height and width, in pixels: two objects of two units fit in any direction, and three somehow."""

FRAMES = ((64, 64), (64, 96), (96, 64))
"""Heights and widths of the frames that models learn and that scores look at: square, wide and tall."""

Combination = tuple[str, str, str]
Interval = tuple[int, int]


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
        ValueError: a side is shorter than `MIN_SIDE` or no multiple of `RASTER`.
    """
    if min(height, width) < MIN_SIDE or height % RASTER or width % RASTER:
        raise ValueError(f"height {height} and width {width} must be multiples of {RASTER}, at least {MIN_SIDE} pixels")
    # A text seed is hashed with SHA-512: the same on every machine, and nearby indices are unrelated.
    generator = random.Random(f"stickers/{split}/{seed}/{index}")
    category = generator.choices(list(CATEGORIES), weights=list(CATEGORIES.values()))[0]
    subject = _draw_subject(generator, category, split=split)
    background = generator.choice(list(BACKGROUNDS))
    return Scene(
        caption=caption(generator, subject.phrase, style=subject.style, background=background),
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
    relation: str | None = None
    absent: str | None = None

    @property
    def phrase(self) -> str:
        return subject_phrase(self.concepts, relation=self.relation, absent=self.absent)


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
        return _Subject(category, style, (first, second))
    if category == "counting":
        return _Subject(category, style, (first,) * generator.choice(list(NUMBERS)))
    if category == "position":
        return _Subject(category, style, (first, second), relation=generator.choice(list(RELATIONS)))
    if category == "negation":
        return _Subject(category, style, (first,), absent=second)
    return _Subject(category, style, (first,))


def _combinations(category: str, style: str, concepts: Iterable[str | None]) -> Iterator[Combination]:
    """Single scenes have no template combination: every concept must be seen alone in some style."""
    names = sorted({concept for concept in concepts if concept is not None})
    yield from (("style", style, name) for name in names)
    yield from (("pair", first, second) for first, second in unordered_pairs(names, 2))
    if category != "single":
        yield from (("template", category, name) for name in names)


def _place(generator: random.Random, subject: _Subject, *, height: int, width: int) -> tuple[Sticker, ...]:
    """Give every object its own cell, so that none overlap, and a free size and place inside it, all on the raster."""
    count = len(subject.concepts)
    rows, columns = _cells(generator, subject, height=height, width=width)
    places = generator.sample(list(product(rows, columns)), count)
    if subject.relation is not None:
        places.sort(reverse=subject.relation in ("right of", "below"))
    share = 0.94 if count == 1 else 1.0
    # Related objects stay near the common axis: far off it, "left of" would read as "above".
    freedom = 1.0 if subject.relation is None else 0.4
    stickers = []
    for concept, ((top, bottom), (left, right)) in zip(subject.concepts, places, strict=True):
        side = min(bottom - top, right - left)
        smallest = math.ceil(0.7 * side)
        size = generator.randint(smallest, max(smallest, math.floor(share * side)))
        x = left + _offset(generator, right - left - size, freedom=freedom)
        y = top + _offset(generator, bottom - top - size, freedom=freedom)
        stickers.append(Sticker(concept, subject.style, left=x * RASTER, top=y * RASTER, size=size * RASTER))
    return tuple(stickers)


def _offset(generator: random.Random, room: int, *, freedom: float) -> int:
    """A whole offset from 0 to ``room``; less freedom keeps it near the middle."""
    lowest = math.floor(room * (1 - freedom) / 2 + 0.5)
    highest = math.ceil(room * (1 + freedom) / 2 - 0.5)
    return generator.randint(lowest, highest)


def _cells(
    generator: random.Random, subject: _Subject, *, height: int, width: int
) -> tuple[list[Interval], list[Interval]]:
    """Rows and columns, in raster units, of a grid with the largest cells that holds the subject's objects."""
    if subject.relation is not None:
        grids = [(1, 2) if RELATIONS[subject.relation] == "horizontal" else (2, 1)]
    else:
        grids = {1: [(1, 1)], 2: [(1, 2), (2, 1)], 3: [(1, 3), (3, 1), (2, 2)]}[len(subject.concepts)]
    sides = [min(height // rows, width // columns) for rows, columns in grids]
    largest = max(sides)
    rows, columns = generator.choice([grid for grid, side in zip(grids, sides, strict=True) if side == largest])
    return _intervals(height // RASTER, rows), _intervals(width // RASTER, columns)


def _intervals(length: int, parts: int) -> list[Interval]:
    return list(pairwise(round(length * part / parts) for part in range(parts + 1)))
