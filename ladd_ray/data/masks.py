"""Inpainting masks for scenes of the embedded world, each a pure function of (seed, index) and the scene.

A mask is made of cells, CELL x CELL pixels, so that every latent is either given or asked for. At least one
cell is asked for and at least one is given.

Shapes: r, c rows and columns of cells; h, w height and width in pixels, h = CELL r and w = CELL c.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from einops import repeat
from numpy.typing import NDArray

from ladd_ray.data.stickers import Scene

__all__ = ["CELL", "MASK_KINDS", "Mask", "draw_mask", "inpainting_mask"]

CELL = 8
"""Side of a cell in pixels: one latent."""

MASK_KINDS: Mapping[str, float] = {"box": 0.30, "half": 0.20, "strokes": 0.25, "object": 0.25}
"""Kinds of mask and how often each is drawn."""

BOX_AREA = (0.25, 0.60)
HALF_DEPTH = (0.375, 0.625)
STROKES_AREA = (0.15, 0.50)
"""Smallest and greatest share of the picture that is asked for; of "half", of the side it grows from."""

MAX_STROKES = 3
MAX_BRUSH = 2
"""Side of the square brush, in cells."""

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))

Cells = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """What is to be drawn: `cells` (r, c) bool, True where the picture is asked for."""

    kind: str
    cells: Cells

    def pixels(self) -> NDArray[np.bool_]:
        """(h, w) bool."""
        return repeat(self.cells, "r c -> (r y) (c x)", y=CELL, x=CELL)


def inpainting_mask(seed: int, index: int, scene: Scene) -> NDArray[np.bool_]:
    """Draw mask `index` of the endless sequence `seed` for a scene: (h, w) bool, True where to draw."""
    return draw_mask(seed, index, scene).pixels()


def draw_mask(seed: int, index: int, scene: Scene) -> Mask:
    """As `inpainting_mask`, with the kind of mask and its cells."""
    generator = random.Random(f"masks/{seed}/{index}")
    kind = generator.choices(list(MASK_KINDS), weights=list(MASK_KINDS.values()))[0]
    cells = _DRAWN[kind](generator, scene)
    assert cells.any() and not cells.all(), f"{kind} mask {index} of seed {seed} asks for nothing or for everything"
    return Mask(kind, cells)


def _nothing(scene: Scene) -> Cells:
    return np.zeros((scene.height // CELL, scene.width // CELL), dtype=bool)


def _box(generator: random.Random, scene: Scene) -> Cells:
    cells = _nothing(scene)
    rows, columns = cells.shape
    least, most = (share * cells.size for share in BOX_AREA)
    sides = product(range(1, rows + 1), range(1, columns + 1))
    height, width = generator.choice([(down, across) for down, across in sides if least <= down * across <= most])
    top, left = generator.randint(0, rows - height), generator.randint(0, columns - width)
    cells[top : top + height, left : left + width] = True
    return cells


def _half(generator: random.Random, scene: Scene) -> Cells:
    """Outpainting: everything from one side of the frame to about its middle."""
    cells = _nothing(scene)
    # Quarter turns bring every side to the top; the turned view writes into `cells`.
    turned = np.rot90(cells, generator.randrange(4))
    least, most = (share * len(turned) for share in HALF_DEPTH)
    turned[: generator.randint(math.ceil(least), math.floor(most))] = True
    return cells


def _strokes(generator: random.Random, scene: Scene) -> Cells:
    """Free-form: up to three random walks of a square brush."""
    least, most = STROKES_AREA
    while True:
        cells = _nothing(scene)
        for _ in range(generator.randint(1, MAX_STROKES)):
            _walk(generator, cells)
        if least <= cells.mean() <= most:
            return cells


def _walk(generator: random.Random, cells: Cells) -> None:
    """Paint one walk into the cells. It keeps its direction more often than not: a stroke, not a blot."""
    rows, columns = cells.shape
    brush = generator.randint(1, MAX_BRUSH)
    row, column = generator.randrange(rows), generator.randrange(columns)
    step = generator.choice(DIRECTIONS)
    for _ in range(generator.randint(3, rows + columns)):
        cells[row : row + brush, column : column + brush] = True
        if generator.random() < 0.4:
            step = generator.choice(DIRECTIONS)
        row = min(max(row + step[0], 0), rows - brush)
        column = min(max(column + step[1], 0), columns - brush)


def _object(generator: random.Random, scene: Scene) -> Cells:
    """The box of one object and, where there is room, a margin of one or two cells on each side.

    The silhouette would give the answer away, and an even margin the size.
    """
    cells = _nothing(scene)
    left, top, right, bottom = (edge // CELL for edge in generator.choice(scene.objects).box)
    cells[top:bottom, left:right] = True
    for turns in generator.sample(range(4), 4) + generator.sample(range(4), generator.randint(0, 4)):
        grown = _grown(cells, turns)
        # Of a picture that is all object, one edge stays given.
        cells = cells if grown.all() else grown
    return cells


def _grown(cells: Cells, turns: int) -> Cells:
    """The cells, and those next to them on one side."""
    grown = cells.copy()
    turned = np.rot90(grown, turns)
    turned[:-1] |= turned[1:]
    return grown


_DRAWN: Mapping[str, Callable[[random.Random, Scene], Cells]] = {
    "box": _box, "half": _half, "strokes": _strokes, "object": _object,
}  # fmt: skip
