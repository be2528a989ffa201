"""What a visitor can try at once: prompts of the embedded world, and edits of its scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data.stickers import Scene, Sticker, render

PROMPTS: Final = (
    "noto sticker of two foxes on a pink background",
    "a penguin and a rocket in flat style on a yellow background",
    "glossy 3d sticker of a cat left of a balloon on a blue background",
    "a green background with three strawberries in twemoji style",
)


@dataclass(frozen=True)
class Example:
    """A picture, and what could be done to it."""

    image: NDArray[np.uint8]
    """(64, 64, 3)."""
    prompt: str


def _scene(background: str, *objects: Sticker) -> NDArray[np.uint8]:
    return render(Scene(objects, background, objects[0].style, "", "single", height=64, width=64))


_FOX: Final = _scene("pink", Sticker("fox", "noto", left=0, top=0, size=48))
_PAIR: Final = _scene(
    "yellow",
    Sticker("penguin", "twemoji", left=0, top=16, size=32),
    Sticker("balloon", "twemoji", left=32, top=16, size=32),
)
_ROCKET: Final = _scene("gray", Sticker("rocket", "flat", left=16, top=0, size=48))
_HEART: Final = _scene("white", Sticker("red heart", "glossy 3d", left=0, top=16, size=48))

EDITS: Final = (
    Example(_FOX, "change the background to blue"),
    Example(_PAIR, "replace the balloon with a cactus"),
    Example(_ROCKET, "redraw it in noto style"),
    Example(_HEART, "paint the red heart green"),
)
FILLS: Final = (
    Example(_PAIR, "twemoji sticker of a penguin and a pizza on a yellow background"),
    Example(_FOX, "noto sticker of a panda on a pink background"),
    Example(_ROCKET, "flat sticker of a rocket on a gray background"),
)
