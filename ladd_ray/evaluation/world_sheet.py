"""world.png: what the embedded world draws: its scenes, their frames, exact edits and inpainting masks.

Shapes: h, w height and width of a picture in pixels, last axis red, green, blue.
"""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data.edits import KINDS, Edit, changed, edit
from ladd_ray.data.masks import CELL, MASK_KINDS, draw_mask
from ladd_ray.data.stickers import CATEGORIES, FRAMES, Scene, render, scene
from ladd_ray.evaluation.contact_sheet import Cell, Row, Section, contact_sheet
from ladd_ray.evaluation.pictures import PAPER

COLUMNS = 9
TRIPLES = COLUMNS // 3
"""Cells of three pictures in a row."""
FRAME_COLUMNS, FRAME_ROWS = 2, 3
"""Cells with one scene in all frames: two are about as wide as a row of squares."""
FADED = 0.85
"""How much paler an edit shows what it leaves alone."""
HOLE = ((206, 206, 202), (226, 226, 222))
"""The two grays of the checks where a picture is asked for."""


def world_sheet(path: Path, *, seed: int = 0) -> None:
    """Write a PNG with examples of everything the embedded world draws from one seed."""
    contact_sheet([_scenes(seed), _frames(seed), _edits(seed), _masks(seed)], path)


def faded(picture: NDArray[np.uint8], keep: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture (h, w, 3) that is paper but for what `keep` (h, w) marks."""
    pale = (1 - FADED) * picture + FADED * np.array(PAPER)
    return np.where(keep[..., None], picture, pale.round()).astype(np.uint8)


def with_hole(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture (h, w, 3) with gray checks where `hole` (h, w) is True."""
    rows, columns = np.indices(hole.shape) // (CELL // 2)
    checks = np.array(HOLE, dtype=np.uint8)[(rows + columns) % 2]
    return np.where(hole[..., None], checks, picture)


def _scenes(seed: int) -> Section:
    def row(category: str) -> Row:
        found = (item for item in _all_scenes(seed) if item.category == category)
        return Row(category, [Cell([render(item)], item.caption) for item in islice(found, COLUMNS)])

    return Section(
        "Scenes", "one to three objects in one style; captions are exact", [row(name) for name in CATEGORIES]
    )


def _frames(seed: int) -> Section:
    def cell(index: int) -> Cell:
        scenes = [scene(seed, index, height=height, width=width) for height, width in FRAMES]
        return Cell([render(item) for item in scenes], scenes[0].caption)

    sizes = ", ".join(f"{width} x {height}" for height, width in FRAMES)
    rows = [
        Row("", [cell(FRAME_COLUMNS * row + column) for column in range(FRAME_COLUMNS)]) for row in range(FRAME_ROWS)
    ]
    return Section("Frames", f"the same objects and caption in every frame: {sizes} pixels", rows)


def _edits(seed: int) -> Section:
    def row(kind: str) -> Row:
        found = (item for item in (edit(seed, index) for index in count()) if item.kind == kind)
        return Row(kind, [_edit_cell(item) for item in islice(found, TRIPLES)])

    return Section("Edits", "source, target, and what of the target is new", [row(kind) for kind in KINDS])


def _edit_cell(item: Edit) -> Cell:
    target = render(item.target)
    return Cell([render(item.source), target, faded(target, changed(item))], item.instruction)


def _masks(seed: int) -> Section:
    def row(kind: str) -> Row:
        drawn = ((item, draw_mask(seed, index, item)) for index, item in enumerate(_all_scenes(seed)))
        found = ((item, mask) for item, mask in drawn if mask.kind == kind)
        return Row(kind, [Cell([with_hole(render(item), mask.pixels())]) for item, mask in islice(found, COLUMNS)])

    note = f"what is asked for is gray; holes are made of {CELL} x {CELL} cells, one latent each"
    return Section("Masks", note, [row(kind) for kind in MASK_KINDS])


def _all_scenes(seed: int) -> Iterator[Scene]:
    return (scene(seed, index) for index in count())
