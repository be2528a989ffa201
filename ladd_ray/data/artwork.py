"""The artwork of the embedded world: 48 concepts, each drawn in four styles, packed in one image.

The sheet holds one row per concept and one column per style, in the order of `CONCEPTS` and `STYLES`.
`jobs/build_stickers.py` makes it from the published emoji sets; licences are in `assets/stickers/NOTICE`.

Shapes: h, w height and width of the sheet; s side of a sprite in pixels; last axis: red, green, blue, alpha.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 64
"""Side of one drawing on the sheet, in pixels."""

STYLES: tuple[str, ...] = ("noto", "twemoji", "flat", "glossy 3d")
"""The style words that captions use, in the sheet's column order."""

CONCEPTS: Mapping[str, str] = {
    "fox": "1f98a", "dog": "1f436", "cat": "1f431", "panda": "1f43c", "frog": "1f438", "pig": "1f437",
    "owl": "1f989", "penguin": "1f427", "fish": "1f420", "octopus": "1f419", "bee": "1f41d",
    "butterfly": "1f98b", "turtle": "1f422", "ladybug": "1f41e", "apple": "1f34e", "banana": "1f34c",
    "strawberry": "1f353", "pineapple": "1f34d", "pizza": "1f355", "burger": "1f354", "donut": "1f369",
    "carrot": "1f955", "watermelon": "1f349", "car": "1f697", "bus": "1f68c", "rocket": "1f680",
    "tractor": "1f69c", "sailboat": "26f5", "airplane": "2708", "cactus": "1f335", "mushroom": "1f344",
    "sunflower": "1f33b", "tree": "1f333", "balloon": "1f388", "umbrella": "2602", "alarm clock": "23f0",
    "guitar": "1f3b8", "crown": "1f451", "key": "1f511", "gift": "1f381", "basketball": "1f3c0",
    "house": "1f3e0", "ghost": "1f47b", "robot": "1f916", "star": "2b50", "red heart": "2764",
    "blue heart": "1f499", "green heart": "1f49a",
}  # fmt: skip
"""Concept name to Unicode code point (lower-case hex, no variation selector), in the sheet's row order."""


def assets_folder() -> Path:
    """The folder with `sheet.webp`, `index.json` and `NOTICE`."""
    return Path(str(files("ladd_ray"))) / "assets" / "stickers"


@lru_cache(maxsize=8192)
def sprite(concept: str, style: str, *, size: int) -> NDArray[np.uint8]:
    """One drawing of `size` x `size` pixels, colours premultiplied by alpha.

    Returns:
        (s, s, 4) uint8, read-only because it is shared between callers.

    Raises:
        ValueError: `concept` or `style` is not one of `CONCEPTS` or `STYLES`.
    """
    if concept not in CONCEPTS:
        raise ValueError(f"unknown concept {concept!r}: choose one of {', '.join(CONCEPTS)}")
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}: choose one of {', '.join(STYLES)}")
    tile = _tiles()[concept, style]
    pixels = np.asarray(tile.resize((size, size), Image.Resampling.LANCZOS)).copy()
    # Lanczos overshoot may leave a colour above its alpha, which would brighten the background.
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    pixels.flags.writeable = False
    return pixels


@lru_cache(maxsize=1)
def _tiles() -> Mapping[tuple[str, str], Image.Image]:
    """Every drawing at full size, premultiplied, by concept and style."""
    sheet = Image.open(assets_folder() / "sheet.webp").convert("RGBA").convert("RGBa")
    assert sheet.size == (TILE * len(STYLES), TILE * len(CONCEPTS)), sheet.size
    return {
        (concept, style): sheet.crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
        for row, concept in enumerate(CONCEPTS)
        for column, style in enumerate(STYLES)
    }
