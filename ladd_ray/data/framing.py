"""From the bytes of image files to arrays of one size, with a hole where one is wanted.

Shapes: h w height and width in pixels, last axis red, green, blue.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ladd_ray.data.items import Item

BOX_SIDE = (0.3, 0.8)
"""Sides of a box, as shares of the picture's."""
HALF_DEPTH = (0.375, 0.625)
"""How far a half reaches into the picture."""
BRUSH = (0.08, 0.2)
"""Width of a stroke, as a share of the shorter side."""
MAX_STROKES, MAX_CORNERS = 3, 5

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, eq=False)
class Framed:
    """A row's pictures in the frame of its bucket."""

    image: NDArray[np.uint8]
    """(h, w, 3)."""
    source: NDArray[np.uint8] | None
    """(h, w, 3) before the edit."""
    hole: NDArray[np.bool_] | None
    """(h, w), True where to draw."""

    @property
    def gives_source(self) -> bool:
        """Whether the network is given something to start from."""
        return self.source is not None or self.hole is not None


def frame(item: Item, buckets: Sequence[Size]) -> Framed:
    """The row's pictures, resized and centre-cropped to the nearest bucket.

    Raises:
        OSError: a picture cannot be read.
    """
    image = _opened(item.image)
    size = nearest_bucket((image.height, image.width), buckets)
    hole = None
    if item.task == "inpaint":
        hole = _hole_of(item.mask, size) if item.mask else draw_hole(random.Random(f"holes/{item.id}"), size)
    source = _cropped(_opened(item.source), size) if item.task == "edit" else None
    return Framed(_cropped(image, size), source, hole)


def nearest_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket with the nearest shape; among equal shapes the one with the nearest area."""

    def distance(bucket: Size) -> tuple[float, float]:
        (height, width), (tall, wide) = size, bucket
        shape = abs(math.log(height * wide / (width * tall)))
        return round(shape, 6), abs(math.log(height * width / (tall * wide)))

    return min(buckets, key=distance)


def draw_hole(generator: random.Random, size: Size) -> NDArray[np.bool_]:
    """(h, w), True in the hole: a box, one side of the picture, or strokes."""
    height, width = size
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    {"box": _box, "half": _half, "strokes": _strokes}[generator.choice(["box", "half", "strokes"])](
        generator, draw, size
    )
    return np.asarray(canvas) > 0


def _box(generator: random.Random, draw: ImageDraw.ImageDraw, size: Size) -> None:
    tall, wide = (round(generator.uniform(*BOX_SIDE) * side) for side in size)
    top, left = generator.randint(0, size[0] - tall), generator.randint(0, size[1] - wide)
    draw.rectangle((left, top, left + wide - 1, top + tall - 1), fill=255)


def _half(generator: random.Random, draw: ImageDraw.ImageDraw, size: Size) -> None:
    height, width = size
    depth = generator.uniform(*HALF_DEPTH)
    down, across = round(depth * height), round(depth * width)
    sides = [
        (0, 0, width - 1, down - 1),
        (0, height - down, width - 1, height - 1),
        (0, 0, across - 1, height - 1),
        (width - across, 0, width - 1, height - 1),
    ]
    draw.rectangle(generator.choice(sides), fill=255)


def _strokes(generator: random.Random, draw: ImageDraw.ImageDraw, size: Size) -> None:
    height, width = size
    for _ in range(generator.randint(1, MAX_STROKES)):
        brush = max(8, round(generator.uniform(*BRUSH) * min(size)))
        corners = [
            (generator.uniform(0, width), generator.uniform(0, height))
            for _ in range(generator.randint(2, MAX_CORNERS))
        ]
        draw.line(corners, fill=255, width=brush, joint="curve")


def _opened(content: bytes) -> Image.Image:
    """Upright and opaque: what is transparent becomes white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _cropped(image: Image.Image, size: Size) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS))


def _hole_of(content: bytes, size: Size) -> NDArray[np.bool_]:
    mask = Image.open(io.BytesIO(content)).convert("L")
    return np.asarray(ImageOps.fit(mask, size[::-1], Image.Resampling.NEAREST)) > 127
