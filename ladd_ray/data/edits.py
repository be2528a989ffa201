"""Edits of the embedded world: a scene, an instruction and the exact result, each a pure function of (seed, index).

All that was not asked for stays pixel for pixel. The same source and instruction always have the same target.

Split: an edit is the combinations of its source, those of its target, and (edit, kind, concept) for every concept
whose object changes, or every concept when none does. A `train` edit contains no held-out one, a `heldout` edit at
least one, whether in what is there or in what is asked for.

Shapes: h, w height and width of the pictures.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data import stickers
from ladd_ray.data.changes import CHANGES, Change
from ladd_ray.data.stickers import Combination, Scene, Split, is_held_out, render, scene
from ladd_ray.data.wording import caption, subject_phrase

__all__ = ["KINDS", "Edit", "changed", "combinations", "edit", "instructions"]

KINDS: Mapping[str, float] = {
    "background": 0.14, "replace": 0.20, "add": 0.14, "remove": 0.12,
    "move": 0.14, "count": 0.10, "style": 0.10, "colour": 0.06,
}  # fmt: skip
"""Kinds of edit and how often each is drawn, in both splits."""


@dataclass(frozen=True)
class Edit:
    """A source, what is asked for in plain English, and the one picture that fulfils it.

    The target's caption is true. Its category is one of `stickers.CATEGORIES`, or "mixed" for what the world itself
    never draws: three objects that are not all alike.
    """

    instruction: str
    kind: str
    source: Scene
    target: Scene


def edit(seed: int, index: int, *, split: Split = "train", height: int = 64, width: int = 64) -> Edit:
    """Draw edit `index` of the endless sequence `seed`: the same arguments always give the same edit.

    Height and width, in pixels, decide what there is room for: another frame gives another edit.

    Raises:
        ValueError: a frame that `stickers.scene` refuses.
    """
    generator = random.Random(f"edits/{split}/{seed}/{index}")
    kind = generator.choices(list(KINDS), weights=list(KINDS.values()))[0]
    # A held-out edit may ask something new of a familiar scene, too.
    sources: list[Split] = ["train", "heldout"] if split == "heldout" else ["train"]
    while True:
        source_split = generator.choice(sources)
        source = scene(seed, generator.getrandbits(40), split=source_split, height=height, width=width)
        change = CHANGES[kind](generator, source)
        if change is None:
            continue
        drawn = Edit(change.instruction, kind, source, _target(generator, source, change))
        if any(map(is_held_out, combinations(drawn))) == (split == "heldout"):
            return drawn


def instructions(seed: int, start: int, *, count: int, split: Split = "train") -> list[str]:
    """The instructions of edits `start` to `start + count - 1` in the default frame, without rendering them."""
    return [edit(seed, index, split=split).instruction for index in range(start, start + count)]


def changed(edit: Edit) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels in which source and target differ."""
    return np.asarray((render(edit.source) != render(edit.target)).any(axis=2))


def combinations(edit: Edit) -> frozenset[Combination]:
    """What an edit puts together, in the terms of the split."""
    touched = set(edit.source.objects) ^ set(edit.target.objects) or set(edit.source.objects)
    asked = {("edit", edit.kind, item.concept) for item in touched}
    return stickers.combinations(edit.source) | stickers.combinations(edit.target) | asked


def _target(generator: random.Random, source: Scene, change: Change) -> Scene:
    """The scene after a change, described as the world would describe it."""
    concepts = [item.concept for item in change.objects]
    stays_put = [item.box for item in change.objects] == [item.box for item in source.objects]
    relation = source.relation if stays_put else None
    absent = source.absent if source.absent not in concepts and len(concepts) == 1 else None
    style = change.objects[0].style
    phrase = subject_phrase(concepts, relation=relation, absent=absent)
    return replace(
        source,
        objects=change.objects,
        background=change.background,
        style=style,
        caption=caption(generator, phrase, style=style, background=change.background),
        category=_category(concepts, relation=relation, absent=absent),
        relation=relation,
        absent=absent,
    )


def _category(concepts: list[str], *, relation: str | None, absent: str | None) -> str:
    if relation is not None:
        return "position"
    if absent is not None:
        return "negation"
    if len(concepts) == 1:
        return "single"
    if len(set(concepts)) == 1:
        return "counting"
    return "two" if len(concepts) == 2 else "mixed"
