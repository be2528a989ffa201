"""Contact sheets: small pictures in rows, under titles, beside labels and over marks, in one PNG.

Shapes: h, w height and width of a picture in pixels, last axis red, green, blue.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ladd_ray.evaluation.pictures import INK, PAPER, SOFT_INK, font

FRAME = (214, 214, 209)
MARKS = {True: ("\u2713", (38, 128, 72)), False: ("\u2717", (190, 52, 46))}
"""Letter and colour of what is right, and of what is not."""
SCALE = 2
"""Pictures are enlarged by this whole factor."""
GAP, CLOSE_GAP, MARGIN, LABEL_WIDTH = 12, 6, 28, 104
TITLE_SIZE, LABEL_SIZE, TEXT_SIZE = 19, 13, 11
LINE_HEIGHT = 1.25
"""Distance of lines, in font sizes."""
LETTER_WIDTH = 0.54
"""Width of a letter, in font sizes."""
TITLE_HEIGHT = 58
MARK_HEIGHT = 16


@dataclass(frozen=True)
class Cell:
    """Pictures (h, w, 3) uint8 side by side, what is to be said over them, and the mark under one of them."""

    pictures: Sequence[NDArray[np.uint8]]
    text: str = ""
    right: bool | None = None
    """A tick or a cross; None for no mark."""
    marked: int = 0
    """Which picture has the mark."""

    @property
    def width(self) -> int:
        """In pixels of the sheet. Pictures of a cell stand closer, but take the room of as many cells."""
        return sum(_enlarged(picture)[0] + GAP for picture in self.pictures) - GAP

    @property
    def height(self) -> int:
        """In pixels of the sheet, without the text."""
        return max(_enlarged(picture)[1] for picture in self.pictures)

    @property
    def lines(self) -> list[str]:
        return textwrap.wrap(self.text, int(self.width / (LETTER_WIDTH * TEXT_SIZE)))


@dataclass(frozen=True)
class Row:
    """Cells from left to right, and the word beside them."""

    label: str
    cells: Sequence[Cell]

    @property
    def text_height(self) -> int:
        most = max(len(cell.lines) for cell in self.cells)
        return round(LINE_HEIGHT * TEXT_SIZE * most) + 6 if most else 0

    @property
    def picture_height(self) -> int:
        return max(cell.height for cell in self.cells)

    @property
    def height(self) -> int:
        marks = MARK_HEIGHT if any(cell.right is not None for cell in self.cells) else 0
        return self.text_height + self.picture_height + marks

    @property
    def width(self) -> int:
        return sum(cell.width + GAP for cell in self.cells) - GAP


class Section(NamedTuple):
    """Rows under a title, with a note on how to read them."""

    title: str
    note: str
    rows: Sequence[Row]


def contact_sheet(sections: Sequence[Section], path: Path) -> None:
    """Write a picture with the sections one below the other; the folder is made if need be."""
    height = sum(TITLE_HEIGHT + sum(row.height + GAP for row in section.rows) for section in sections)
    width = max(row.width for section in sections for row in section.rows)
    sheet = Image.new("RGB", (width + LABEL_WIDTH + 2 * MARGIN, height + MARGIN), PAPER)
    top = MARGIN // 2
    for section in sections:
        _draw_title(sheet, section, top=top)
        top += TITLE_HEIGHT
        for row in section.rows:
            _draw_row(sheet, row, top=top)
            top += row.height + GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    # PNG ignores the quality; a WebP sheet of the docs is a fifth of its size.
    sheet.save(path, optimize=True, quality=85, method=6)


def _draw_title(sheet: Image.Image, section: Section, *, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    title_font = font(bold=True, size=TITLE_SIZE)
    foot = top + TITLE_HEIGHT - 18
    draw.text((MARGIN, foot), section.title, fill=INK, font=title_font, anchor="ls")
    after = MARGIN + title_font.getlength(section.title) + 14
    draw.text((after, foot), section.note, fill=SOFT_INK, font=font(bold=False, size=LABEL_SIZE), anchor="ls")


def _draw_row(sheet: Image.Image, row: Row, *, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    foot = top + row.text_height
    middle = foot + row.picture_height // 2
    draw.multiline_text((MARGIN, middle), row.label, fill=INK, font=font(bold=True, size=LABEL_SIZE), anchor="lm")
    left = MARGIN + LABEL_WIDTH
    for cell in row.cells:
        for number, line in enumerate(reversed(cell.lines)):
            place = left, foot - 7 - round(LINE_HEIGHT * TEXT_SIZE * number)
            draw.text(place, line, fill=SOFT_INK, font=font(bold=False, size=TEXT_SIZE), anchor="ls")
        _draw_pictures(sheet, cell, corner=(left, foot))
        left += cell.width + GAP


def _draw_pictures(sheet: Image.Image, cell: Cell, *, corner: tuple[int, int]) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(cell.pictures):
        enlarged = Image.fromarray(picture).resize(_enlarged(picture), Image.Resampling.LANCZOS)
        # A thin frame, or white pictures would melt into the paper.
        sheet.paste(ImageOps.expand(enlarged, border=1, fill=FRAME), (left - 1, top - 1))
        if cell.right is not None and number == cell.marked:
            letter, colour = MARKS[cell.right]
            place = left + enlarged.width // 2, top + enlarged.height + MARK_HEIGHT // 2 + 1
            draw.text(place, letter, fill=colour, font=font(bold=True, size=LABEL_SIZE), anchor="mm")
        left += enlarged.width + CLOSE_GAP


def _enlarged(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of a picture on the sheet."""
    height, width, _ = picture.shape
    return SCALE * width, SCALE * height
