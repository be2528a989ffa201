"""Free places in scenes of the embedded world: where an object can be added or moved to without touching another.

Choices follow rules, not chance: the first place in reading order, or the one nearest to the side asked for.
Units: pixels; depths are shares of the height or width of the frame.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Literal

from ladd_ray.data.stickers import RASTER, Scene, Sticker

__all__ = ["NEAR", "SIDES", "Side", "another", "depth", "moved", "overlap", "reading_order"]

Side = Literal["left", "right", "top", "bottom"]

SIDES: Mapping[Side, str] = {
    "left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
}  # fmt: skip
"""Sides of the frame, and how to say that something is there."""

NEAR = 0.42
"""Greatest depth at which an object is "on the left", or at another side."""


def reading_order(item: Sticker) -> tuple[int, int]:
    """Sort key: from the top, then from the left."""
    return item.top, item.left


def depth(item: Sticker, side: Side, *, scene: Scene) -> float:
    """How far an object's centre lies from a side of the frame: 0 to 1, where 1 is the opposite side."""
    across = (item.left + item.size / 2) / scene.width
    down = (item.top + item.size / 2) / scene.height
    return {"left": across, "right": 1 - across, "top": down, "bottom": 1 - down}[side]


def overlap(first: Sticker, second: Sticker) -> bool:
    """Whether the boxes of two objects have a pixel in common."""
    across = first.left < second.left + second.size and second.left < first.left + first.size
    down = first.top < second.top + second.size and second.top < first.top + first.size
    return across and down


def another(scene: Scene, concept: str, *, side: Side | None = None) -> Sticker | None:
    """A new object beside those of the scene, as large as they are, or `None` where there is no room.

    It takes the largest size between those of the scene's objects that fits; the first free place in reading
    order, or with a side the one nearest to it.
    """
    sizes = [item.size for item in scene.objects]
    for size in range(max(sizes), min(sizes) - 1, -RASTER):
        item = replace(scene.objects[0], concept=concept, left=0, top=0, size=size)
        places = [place for place in _places(item, scene=scene) if _is_free(place, scene.objects)]
        if side is not None:
            places = [place for place in places if depth(place, side, scene=scene) <= NEAR]
            places.sort(key=lambda place: depth(place, side, scene=scene))
        if places:
            return places[0]
    return None


def moved(scene: Scene, item: Sticker, *, side: Side) -> Sticker | None:
    """An object of the scene pushed straight to a side, as far as a free place goes; it may pass others.

    `None` when it is there already or cannot get there.
    """
    others = [other for other in scene.objects if other != item]
    straight = [place for place in _places(item, scene=scene) if _on_one_line(place, item, side=side)]
    free = [place for place in straight if _is_free(place, others)]
    nearest = min(free, key=lambda place: depth(place, side, scene=scene))
    arrives = depth(nearest, side, scene=scene) <= NEAR < depth(item, side, scene=scene)
    return nearest if arrives else None


def _places(item: Sticker, *, scene: Scene) -> Iterator[Sticker]:
    """The object at every place of the raster, in reading order."""
    tops = range(0, scene.height - item.size + 1, RASTER)
    lefts = range(0, scene.width - item.size + 1, RASTER)
    return (replace(item, top=top, left=left) for top, left in product(tops, lefts))


def _is_free(place: Sticker, others: tuple[Sticker, ...] | list[Sticker]) -> bool:
    return not any(overlap(place, other) for other in others)


def _on_one_line(place: Sticker, item: Sticker, *, side: Side) -> bool:
    return place.top == item.top if side in ("left", "right") else place.left == item.left
