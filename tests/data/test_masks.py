"""Inpainting masks: whole cells, something given and something asked for, and every kind as described."""

from collections import Counter

import numpy as np
import pytest

from ladd_ray.data import stickers
from ladd_ray.data.masks import CELL, MASK_KINDS, Mask, draw_mask, inpainting_mask
from ladd_ray.data.stickers import FRAMES, Scene

Drawn = list[tuple[Scene, Mask]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    scenes = [stickers.scene(0, index, height=height, width=width) for height, width in FRAMES for index in range(250)]
    return [(scene, draw_mask(1, index, scene)) for index, scene in enumerate(scenes)]


def of_kind(drawn: Drawn, kind: str) -> Drawn:
    found = [(scene, mask) for scene, mask in drawn if mask.kind == kind]
    assert len(found) > 50
    return found


def filled_box(cells: np.ndarray) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) in cells when what is True is a full rectangle."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return (left, top, right, bottom) if cells[top:bottom, left:right].all() else None


def test_a_mask_is_a_pure_function_of_seed_index_and_scene() -> None:
    scene = stickers.scene(0, 0)
    first = [inpainting_mask(0, index, scene).tobytes() for index in range(30)]
    assert first == [inpainting_mask(0, index, scene).tobytes() for index in range(30)]
    assert first != [inpainting_mask(1, index, scene).tobytes() for index in range(30)]
    assert len(set(first)) > 15


def test_kinds_are_drawn_as_often_as_stated(drawn: Drawn) -> None:
    counts = Counter(mask.kind for _, mask in drawn)
    assert abs(sum(MASK_KINDS.values()) - 1) < 1e-9
    for kind, share in MASK_KINDS.items():
        assert abs(counts[kind] / len(drawn) - share) < 0.05


def test_masks_are_whole_cells_and_leave_something_on_either_side(drawn: Drawn) -> None:
    for index, (scene, mask) in enumerate(drawn):
        pixels = inpainting_mask(1, index, scene)
        assert pixels.shape == (scene.height, scene.width) and pixels.dtype == np.bool_
        assert pixels.any() and not pixels.all()
        for row, column in np.ndindex(mask.cells.shape):
            cell = pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
            assert (cell == mask.cells[row, column]).all()


def test_boxes_are_filled_and_of_a_quarter_to_three_fifths(drawn: Drawn) -> None:
    for _, mask in of_kind(drawn, "box"):
        assert filled_box(mask.cells) is not None
        assert 0.25 <= mask.cells.mean() <= 0.60


def test_halves_grow_from_each_side(drawn: Drawn) -> None:
    sides = set()
    for _, mask in of_kind(drawn, "half"):
        rows, columns = mask.cells.shape
        left, top, right, bottom = filled_box(mask.cells) or (1, 1, 0, 0)
        touched = [left == 0, top == 0, right == columns, bottom == rows]
        assert sum(touched) == 3
        sides.add(tuple(touched))
        assert 0.375 <= mask.cells.mean() <= 0.625
    assert len(sides) == 4


def test_strokes_are_neither_specks_nor_floods(drawn: Drawn) -> None:
    masks = [mask for _, mask in of_kind(drawn, "strokes")]
    assert all(0.15 <= mask.cells.mean() <= 0.50 for mask in masks)
    assert np.mean([filled_box(mask.cells) is None for mask in masks]) > 0.5


def test_object_masks_hold_one_object_and_a_margin(drawn: Drawn) -> None:
    margins = set()
    for scene, mask in of_kind(drawn, "object"):
        left, top, right, bottom = filled_box(mask.cells) or (0, 0, 0, 0)
        assert any(margins_hold(item.box, (left, top, right, bottom), mask=mask) for item in scene.objects)
        edges = np.array([left, top, right, bottom])
        margins |= {tuple(abs(edges - np.array(item.box) // CELL)) for item in scene.objects}
    assert len(margins) > 10


def margins_hold(box: tuple[int, ...], hole: tuple[int, ...], *, mask: Mask) -> bool:
    """One or two cells on every side with room; without, on one side, when nothing else would stay given."""
    rows, columns = mask.cells.shape
    inside = [edge // CELL for edge in box]
    gaps = [inside[0] - hole[0], inside[1] - hole[1], hole[2] - inside[2], hole[3] - inside[3]]
    room = [inside[0], inside[1], columns - inside[2], rows - inside[3]]
    tight = [gap < min(1, most) for gap, most in zip(gaps, room, strict=True)]
    all_but_an_edge = mask.cells.size - mask.cells.sum() in (rows, columns)
    return all(0 <= gap <= 2 for gap in gaps) and (not any(tight) or (sum(tight) == 1 and all_but_an_edge))
