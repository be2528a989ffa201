"""Which sizes a model draws: one rule for the API and the page."""

from __future__ import annotations

from typing import Final

_WIDEST: Final = 3
"""Of a picture's longer side to its shorter one."""


def size_fault(width: int, height: int, *, multiple: int, largest_side: int) -> str | None:
    """Why a model does not draw pictures of a size in pixels; None of one that it draws.

    Args:
        width: of the picture.
        height: of the picture.
        multiple: what divides both sides.
        largest_side: that the model draws.
    """
    short, long = sorted((width, height))
    if width % multiple or height % multiple:
        return f"width and height must be multiples of {multiple}"
    if long > largest_side:
        return f"this model draws at most {largest_side} pixels a side"
    if long > _WIDEST * short:
        return f"one side is at most {_WIDEST} times the other"
    return None
