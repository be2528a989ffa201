"""What a showcase asks a model to draw: the first pictures of a seed and a kind, in their order, not the best ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType

from ladd_ray.data.edits import KINDS
from ladd_ray.data.masks import MASK_KINDS
from ladd_ray.data.stickers import CATEGORIES, FRAMES, Scene, scene
from ladd_ray.training.evaluation.trials import Exercise, edit_exercise, fill_exercise
from ladd_ray.training.painting import Picture, Sample

SQUARE, *OTHER_FRAMES = FRAMES


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture to draw, what it should show, and what hangs beside it."""

    kind: str
    sample: Sample
    target: Scene
    given: tuple[Picture, ...] = ()
    """Shown to its left."""
    exact: tuple[Picture, ...] = ()
    """Shown to its right."""


Rooms = Mapping[str, Sequence[Exhibit]]
"""Exhibits by kind: rows of a sheet."""


def generated(seed: int, number: int) -> Rooms:
    """Held-out captions: every category in the square, and all categories in every other frame."""
    rooms = _first_of_each(CATEGORIES, (_scene_exhibit(seed, index, size=SQUARE) for index in count()), number)
    others = {
        f"{height} x {width}": [_scene_exhibit(seed, index, size=(height, width)) for index in range(number)]
        for height, width in OTHER_FRAMES
    }
    return {**rooms, **others}


def edited(seed: int, number: int) -> Rooms:
    """Held-out edits of every kind, in the square."""
    exercises = (_triple(edit_exercise(seed, index, size=SQUARE), index) for index in count())
    return _first_of_each(KINDS, exercises, number)


def filled(seed: int, number: int) -> Rooms:
    """Holes of every kind in held-out scenes, in the square."""
    exercises = (_triple(fill_exercise(seed, index, size=SQUARE), index) for index in count())
    return _first_of_each(MASK_KINDS, exercises, number)


@dataclass(frozen=True)
class Gallery:
    """One task: its sheet, and how to read it."""

    file: str
    title: str
    note: str
    rooms: Callable[[int, int], Rooms]
    """From a seed and the number of exhibits in every room."""
    pictures_each: int
    """Pictures that an exhibit shows."""


GALLERIES: Mapping[str, Gallery] = MappingProxyType(
    {
        "generate": Gallery("generate.webp", "Generating", "held-out captions, the first by seed", generated, 1),
        "edit": Gallery("edits.webp", "Editing", "source, what the model makes of it, exact target", edited, 3),
        "inpaint": Gallery("fills.webp", "Inpainting", "hole, what the model makes of it, true picture", filled, 3),
    }
)
"""By task."""


def _scene_exhibit(seed: int, index: int, *, size: tuple[int, int]) -> Exhibit:
    height, width = size
    target = scene(seed, index, split="heldout", height=height, width=width)
    return Exhibit(target.category, Sample(index, target.caption, height, width), target)


def _triple(exercise: Exercise, number: int) -> Exhibit:
    return Exhibit(exercise.kind, exercise.sample(number), exercise.target, (exercise.untouched,), (exercise.exact,))


def _first_of_each(kinds: Iterable[str], exhibits: Iterator[Exhibit], number: int) -> dict[str, list[Exhibit]]:
    """The first exhibits of every kind; the others are passed by."""
    rooms: dict[str, list[Exhibit]] = {kind: [] for kind in kinds}
    while any(len(room) < number for room in rooms.values()):
        exhibit = next(exhibits)
        if len(rooms[exhibit.kind]) < number:
            rooms[exhibit.kind].append(exhibit)
    return rooms
