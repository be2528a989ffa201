"""Edits: what is asked for happens, nothing else does, and splits do not leak."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations as unordered_pairs

import numpy as np
import pytest

from ladd_ray.data import edits, stickers
from ladd_ray.data.edits import KINDS, Edit
from ladd_ray.data.stickers import CONCEPTS, RASTER, Scene
from tests.data.facts import COUNTS, SINGULARS, boxes, concepts, singular

DIGEST_PROGRAM = """
import hashlib
from ladd_ray.data import edits
print(hashlib.sha256(repr([edits.edit(5, index, split="heldout") for index in range(40)]).encode()).hexdigest())
"""


def test_same_arguments_give_the_same_edits_in_another_process() -> None:
    here = repr([edits.edit(5, index, split="heldout") for index in range(40)])
    other = subprocess.run([sys.executable, "-c", DIGEST_PROGRAM], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def test_seed_index_and_split_all_matter() -> None:
    base = [edits.edit(0, index) for index in range(20)]
    assert len(set(base)) == 20
    assert base != [edits.edit(1, index) for index in range(20)]
    assert base != [edits.edit(0, index, split="heldout") for index in range(20)]


def test_instructions_are_those_of_the_edits() -> None:
    expected = [edits.edit(3, index, split="heldout").instruction for index in range(5, 25)]
    assert edits.instructions(3, 5, count=20, split="heldout") == expected


def test_kinds_are_drawn_as_often_as_stated(drawn: list[Edit]) -> None:
    counts = Counter(item.kind for item in drawn)
    assert abs(sum(KINDS.values()) - 1) < 1e-9
    for kind, share in KINDS.items():
        assert abs(counts[kind] / len(drawn) - share) < 0.05


def test_instructions_are_plain_and_short(drawn: list[Edit]) -> None:
    for item in drawn:
        assert re.fullmatch(r"[a-z]+( [a-z]+| 3d)*", item.instruction), item.instruction
        assert len(item.instruction.split()) <= 16


def test_targets_are_legal_scenes(drawn: list[Edit]) -> None:
    for item in drawn:
        target = item.target
        assert (target.height, target.width) == (item.source.height, item.source.width)
        assert 1 <= len(target.objects) <= 3
        assert {thing.style for thing in target.objects} == {target.style}
        for left, top, right, bottom in boxes(target):
            assert 0 <= left < right <= target.width and 0 <= top < bottom <= target.height
            assert not any(edge % RASTER for edge in (left, top, right, bottom))
        for first, second in unordered_pairs(boxes(target), 2):
            apart_across = first[2] <= second[0] or second[2] <= first[0]
            assert apart_across or first[3] <= second[1] or second[3] <= first[1]


def test_what_was_not_asked_for_stays_pixel_for_pixel(drawn: list[Edit]) -> None:
    for item in drawn:
        before, after = stickers.render(item.source), stickers.render(item.target)
        free = np.ones(before.shape[:2], dtype=bool)
        for thing in set(item.source.objects) ^ set(item.target.objects):
            left, top, right, bottom = thing.box
            free[top:bottom, left:right] = False
        if item.kind == "background":
            assert item.source.objects == item.target.objects
        else:
            assert (before[free] == after[free]).all()
        assert (edits.changed(item) == (before != after).any(axis=2)).all()
        assert edits.changed(item).sum() > 40


def test_captions_of_targets_are_true(drawn: list[Edit]) -> None:
    for item in drawn:
        target, caption = item.target, item.target.caption
        assert f" {target.background} background" in caption
        assert len(caption.split()) <= 16
        said = re.findall(rf"\b(a|an|two|three) ({'|'.join([*CONCEPTS, *SINGULARS])})\b", caption)
        told = Counter({singular(noun): COUNTS[number] for number, noun in said})
        assert told - Counter([target.absent]) == concepts(target), caption
        assert f"{target.style} sticker" in caption or f"in {target.style} style" in caption or len(said) == 3
        assert ("without" in caption) == (target.absent is not None)
        assert (target.relation or "") in caption
        if target.relation is not None:
            assert lies_as_said(target)


def lies_as_said(scene: Scene) -> bool:
    first, second = (item.box for item in scene.objects)
    return {
        "left of": first[2] <= second[0],
        "right of": second[2] <= first[0],
        "above": first[3] <= second[1],
        "below": second[3] <= first[1],
    }[scene.relation or ""]


def test_categories_of_targets(drawn: list[Edit]) -> None:
    for item in drawn:
        different, number = len(concepts(item.target)), len(item.target.objects)
        expected = {
            (1, 1): {"single", "negation"}, (1, 2): {"counting"}, (1, 3): {"counting"},
            (2, 2): {"two", "position"}, (2, 3): {"mixed"}, (3, 3): {"mixed"},
        }  # fmt: skip
        assert item.target.category in expected[different, number]
        assert (item.target.category == "position") == (item.target.relation is not None)


def combinations_by_hand(item: Edit) -> set[tuple[str, str, str]]:
    found = set()
    for scene in (item.source, item.target):
        names = sorted({*concepts(scene), *filter(None, [scene.absent])})
        found |= {("style", scene.style, name) for name in names}
        found |= {("pair", *pair) for pair in unordered_pairs(names, 2)}
        found |= {("template", scene.category, name) for name in names if scene.category != "single"}
    if item.kind in ("background", "style"):
        named = set(concepts(item.source))
    elif item.kind == "move":
        named = {thing.concept for thing in set(item.source.objects) - set(item.target.objects)}
    else:
        different = concepts(item.source) - concepts(item.target) + (concepts(item.target) - concepts(item.source))
        named = set(different)
    return found | {("edit", item.kind, name) for name in named}


def test_splits_share_no_held_out_combination() -> None:
    for index in range(400):
        train, heldout = edits.edit(2, index), edits.edit(2, index, split="heldout")
        assert edits.combinations(train) == combinations_by_hand(train)
        assert not any(map(stickers.is_held_out, combinations_by_hand(train)))
        assert any(map(stickers.is_held_out, combinations_by_hand(heldout)))


def test_heldout_edits_also_ask_something_new_of_familiar_scenes() -> None:
    drawn = [edits.edit(2, index, split="heldout") for index in range(200)]
    familiar = [not any(map(stickers.is_held_out, stickers.combinations(item.source))) for item in drawn]
    assert 0.1 < np.mean(familiar) < 0.9


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128)])
def test_every_kind_finds_a_source_in_small_and_long_frames(height: int, width: int) -> None:
    assert {edits.edit(1, index, height=height, width=width).kind for index in range(120)} == set(KINDS)


def test_a_frame_off_the_raster_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        edits.edit(0, 0, height=60)
