"""Pictures between a visitor's browser and the API, as data URLs.

Shape legend: H W height and width in pixels.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from serve.schemas import ModelCard
from serve.sizes import size_fault
from serve.uploads import from_data_url, read_given


@dataclass(frozen=True)
class Source:
    """A picture to change, as the model takes it."""

    url: str
    note: str
    """Its size, and what was done to the picture that came."""


def source(url: str, card: ModelCard, *, max_pixels: int) -> Source:
    """A picture made fit for a model.

    Raises:
        ApiError: it is none that the API would take.
    """
    came = read_given([from_data_url(url, param="image")], None, polarity="openai", max_pixels=max_pixels).image
    picture = fitted(came, card)
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    return Source(data_url(picture), size if picture is came else f"scaled and cut to {size} for this model")


def fitted(picture: NDArray[np.uint8], card: ModelCard) -> NDArray[np.uint8]:
    """The picture (H, W, 3) as it is if the model takes it, or else scaled to the model's own area and cut to fit."""
    height, width = picture.shape[:2]
    if _suits(height, width, card):
        return picture
    return np.asarray(ImageOps.fit(Image.fromarray(picture), _frame(width / height, card), Image.Resampling.LANCZOS))


def _frame(shape: float, card: ModelCard) -> tuple[int, int]:
    """Width and height of about the model's own area that come nearest to a shape, which is width by height."""
    native, step = int(card.native_size.partition("x")[0]), card.size_multiple
    multiples = range(step, card.largest_side + 1, step)
    frames = [(width, height) for width in multiples for height in multiples if _suits(height, width, card)]
    fair = [frame for frame in frames if 0.5 <= frame[0] * frame[1] / native**2 <= 2]
    return min(
        fair or frames,
        key=lambda frame: (
            abs(math.log(frame[0] / frame[1] / shape)) + abs(math.log(frame[0] * frame[1] / native**2)) / 4
        ),
    )


def _suits(height: int, width: int, card: ModelCard) -> bool:
    return size_fault(width, height, multiple=card.size_multiple, largest_side=card.largest_side) is None


def data_url(pixels: NDArray[np.uint8]) -> str:
    """A PNG of (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
