"""The eight kinds of edits of the embedded world, each from a scene to an instruction and what is then there.

A kind that cannot be done to a scene gives `None`. What an instruction leaves open is settled by rule, so that scene
and instruction together have one result: places as in `places`, and of fewer objects the first in reading order stay.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ladd_ray.data.places import SIDES, another, moved, reading_order
from ladd_ray.data.stickers import BACKGROUNDS, CONCEPTS, STYLES, Scene, Sticker
from ladd_ray.data.wording import counted, plural, with_article

__all__ = ["CHANGES", "INSTRUCTIONS", "Change"]

INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "background": (
        "change the background to {new}",
        "make the background {new}",
        "use {a_new} background instead",
        "paint the background {new}",
    ),
    "replace": (
        "replace the {old} with {new}",
        "turn the {old} into {new}",
        "swap the {old} for {new}",
        "change the {old} into {new}",
    ),
    "add": ("add {new}", "draw {new} as well", "put in {new}"),
    "add on a side": ("add {new} {place}", "draw {new} {place}", "put {new} {place}"),
    "remove": ("remove the {old}", "erase the {old}", "delete the {old}", "take away the {old}"),
    "move": ("move the {old} to the {side}", "shift the {old} to the {side}", "put the {old} {place}"),
    "count": ("make it {new}", "draw {new} instead", "change it to {new}"),
    "style": (
        "redraw it in {new} style",
        "change the style to {new}",
        "turn it into {new} style",
        "draw the same in {new} style",
    ),
    "colour": (
        "make the {old} {new}",
        "paint the {old} {new}",
        "turn the {old} {new}",
        "change the colour of the {old} to {new}",
    ),
}
"""Sentence frames of every kind; adding has two sets."""

MOST_OBJECTS = 3

HEARTS: Mapping[str, str] = {name: name.removesuffix(" heart") for name in CONCEPTS if name.endswith(" heart")}
"""The one object that comes in several colours: concept to colour."""


@dataclass(frozen=True)
class Change:
    """An instruction, and the objects and the background that a scene has once it is followed."""

    instruction: str
    objects: tuple[Sticker, ...]
    background: str


def _background(generator: random.Random, scene: Scene) -> Change:
    new = generator.choice([name for name in BACKGROUNDS if name != scene.background])
    instruction = generator.choice(INSTRUCTIONS["background"]).format(new=new, a_new=with_article(new))
    return Change(instruction, scene.objects, new)


def _replace(generator: random.Random, scene: Scene) -> Change:
    counts = _counts(scene)
    old = generator.choice(list(counts))
    new = generator.choice([concept for concept in CONCEPTS if concept not in counts])
    words = with_article(new) if counts[old] == 1 else plural(new)
    instruction = generator.choice(INSTRUCTIONS["replace"]).format(old=_noun(old, counts[old]), new=words)
    return Change(instruction, _with_concept(scene, old, new=new), scene.background)


def _add(generator: random.Random, scene: Scene) -> Change | None:
    if len(scene.objects) == MOST_OBJECTS:
        return None
    new = generator.choice([concept for concept in CONCEPTS if concept not in _counts(scene)])
    side = generator.choice([None, *SIDES])
    item = another(scene, new, side=side)
    if item is None:
        return None
    kind, place = ("add", "") if side is None else ("add on a side", SIDES[side])
    instruction = generator.choice(INSTRUCTIONS[kind]).format(new=with_article(new), place=place)
    return Change(instruction, (*scene.objects, item), scene.background)


def _remove(generator: random.Random, scene: Scene) -> Change | None:
    candidates = _unmistakable(scene)
    if len(scene.objects) == 1 or not candidates:
        return None
    old = generator.choice(candidates)
    instruction = generator.choice(INSTRUCTIONS["remove"]).format(old=old.concept)
    return Change(instruction, tuple(item for item in scene.objects if item != old), scene.background)


def _move(generator: random.Random, scene: Scene) -> Change | None:
    candidates = _unmistakable(scene)
    if not candidates:
        return None
    old, side = generator.choice(candidates), generator.choice(list(SIDES))
    new = moved(scene, old, side=side)
    if new is None:
        return None
    instruction = generator.choice(INSTRUCTIONS["move"]).format(old=old.concept, side=side, place=SIDES[side])
    return Change(instruction, tuple(new if item == old else item for item in scene.objects), scene.background)


def _count(generator: random.Random, scene: Scene) -> Change | None:
    concept, *others = _counts(scene)
    if others:
        return None
    number = generator.choice([number for number in range(1, MOST_OBJECTS + 1) if number != len(scene.objects)])
    objects = _in_number(scene, number)
    if objects is None:
        return None
    words = f"one {concept}" if number == 1 else counted(concept, number)
    return Change(generator.choice(INSTRUCTIONS["count"]).format(new=words), objects, scene.background)


def _style(generator: random.Random, scene: Scene) -> Change:
    new = generator.choice([style for style in STYLES if style != scene.style])
    instruction = generator.choice(INSTRUCTIONS["style"]).format(new=new)
    return Change(instruction, tuple(replace(item, style=new) for item in scene.objects), scene.background)


def _colour(generator: random.Random, scene: Scene) -> Change | None:
    counts = _counts(scene)
    hearts = [concept for concept in counts if concept in HEARTS]
    if not hearts:
        return None
    old = generator.choice(hearts)
    new = generator.choice([heart for heart in HEARTS if heart not in hearts])
    noun = _noun(old if len(hearts) > 1 else "heart", counts[old])
    instruction = generator.choice(INSTRUCTIONS["colour"]).format(old=noun, new=HEARTS[new])
    return Change(instruction, _with_concept(scene, old, new=new), scene.background)


CHANGES: Mapping[str, Callable[[random.Random, Scene], Change | None]] = {
    "background": _background, "replace": _replace, "add": _add, "remove": _remove,
    "move": _move, "count": _count, "style": _style, "colour": _colour,
}  # fmt: skip
"""Kind of edit to what draws one for a scene."""


def _counts(scene: Scene) -> Counter[str]:
    return Counter(item.concept for item in scene.objects)


def _noun(concept: str, count: int) -> str:
    return concept if count == 1 else plural(concept)


def _unmistakable(scene: Scene) -> list[Sticker]:
    """Objects that "the cat" can only mean."""
    counts = _counts(scene)
    return [item for item in scene.objects if counts[item.concept] == 1]


def _with_concept(scene: Scene, old: str, *, new: str) -> tuple[Sticker, ...]:
    return tuple(replace(item, concept=new) if item.concept == old else item for item in scene.objects)


def _in_number(scene: Scene, number: int) -> tuple[Sticker, ...] | None:
    """Fewer or more objects of the scene's one concept, or `None` where there is no room for more."""
    while len(scene.objects) < number:
        item = another(scene, scene.objects[0].concept)
        if item is None:
            return None
        scene = replace(scene, objects=(*scene.objects, item))
    return tuple(sorted(scene.objects, key=reading_order)[:number])
