"""Contact sheets: every picture whole and in its place, and the world's ways of showing edits and masks."""

from pathlib import Path

import numpy as np
from PIL import Image

from ladd_ray.evaluation.contact_sheet import (
    GAP,
    LABEL_WIDTH,
    MARGIN,
    MARK_HEIGHT,
    MARKS,
    SCALE,
    Cell,
    Row,
    Section,
    contact_sheet,
)
from ladd_ray.evaluation.pictures import PAPER
from ladd_ray.evaluation.world_sheet import HOLE, faded, with_hole

RED, BLUE, GREEN = (220, 20, 20), (20, 20, 220), (20, 160, 20)


def flat(colour: tuple[int, int, int], *, height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def where(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Left and top edge of a colour, and how many pixels have it."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return int(columns.min()), int(rows.min()), len(rows)


def drawn(path: Path, *rows: Row) -> np.ndarray:
    contact_sheet([Section("Title", "a note", rows)], path)
    with Image.open(path) as sheet:
        return np.asarray(sheet.convert("RGB"))


def test_every_picture_is_shown_whole_and_in_its_place(tmp_path: Path) -> None:
    first = Row("one", [Cell([flat(RED)], "a red apple"), Cell([flat(BLUE)], "a caption of more than one line")])
    second = Row("two", [Cell([flat(GREEN, height=48, width=80)])])
    sheet = drawn(tmp_path / "new" / "sheet.png", first, second)
    red, blue, green = (where(sheet, colour) for colour in (RED, BLUE, GREEN))
    side = SCALE * 32
    assert red[2] == blue[2] == side**2 and green[2] == SCALE**2 * 48 * 80
    assert red[0] == green[0] == MARGIN + LABEL_WIDTH
    assert blue[0] == red[0] + side + GAP and blue[1] == red[1]
    assert green[1] == red[1] + side + GAP


def test_pictures_of_one_cell_stand_closer_but_cells_stay_in_columns(tmp_path: Path) -> None:
    pair = Row("", [Cell([flat(RED), flat(BLUE)]), Cell([flat(GREEN)])])
    sheet = drawn(tmp_path / "sheet.png", pair)
    red, blue, green = (where(sheet, colour)[0] for colour in (RED, BLUE, GREEN))
    assert SCALE * 32 < blue - red < SCALE * 32 + GAP
    assert green == red + 2 * (SCALE * 32 + GAP)


def test_faded_keeps_what_is_marked_and_pales_the_rest() -> None:
    keep = np.zeros((32, 32), dtype=bool)
    keep[:8] = True
    picture = faded(flat(RED), keep)
    assert (picture[keep] == RED).all()
    assert (abs(picture[~keep].astype(int) - PAPER) < abs(np.array(RED) - PAPER) / 2).all()


def test_holes_hide_the_picture() -> None:
    hole = np.zeros((32, 32), dtype=bool)
    hole[:, 16:] = True
    picture = with_hole(flat(RED), hole)
    assert (picture[~hole] == RED).all()
    assert {tuple(pixel) for pixel in picture[hole].tolist()} == set(HOLE)


def test_a_mark_stands_under_its_picture_and_rows_make_room(tmp_path: Path) -> None:
    marked = Row("", [Cell([flat(RED), flat(BLUE)], right=True, marked=1), Cell([flat(RED)], right=False)])
    sheet = drawn(tmp_path / "sheet.png", marked, Row("", [Cell([flat(GREEN)])]))
    tick, cross, blue, green = (where(sheet, colour) for colour in (MARKS[True][1], MARKS[False][1], BLUE, GREEN))
    foot = blue[1] + SCALE * 32
    assert blue[0] < tick[0] < blue[0] + SCALE * 32 and tick[1] > foot
    assert cross[0] > blue[0] + SCALE * 32 and cross[1] > foot
    assert green[1] == foot + MARK_HEIGHT + GAP
