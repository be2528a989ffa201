"""Every kind of edit does what its instruction says, read back word by word."""

import random
import re
from collections import Counter

import pytest

from ladd_ray.data import stickers
from ladd_ray.data.changes import CHANGES
from ladd_ray.data.edits import KINDS, Edit
from ladd_ray.data.stickers import BACKGROUNDS, STYLES, Scene
from tests.data.facts import COUNTS, boxes, concepts, singular

ON_SIDE = {"on the left": "left", "on the right": "right", "at the top": "top", "at the bottom": "bottom"}


def of_kind(drawn: list[Edit], kind: str) -> list[Edit]:
    found = [item for item in drawn if item.kind == kind]
    assert len(found) > 10
    return found


def parsed(item: Edit, *patterns: str) -> tuple[str, ...]:
    matches = [match for pattern in patterns if (match := re.fullmatch(pattern, item.instruction))]
    assert len(matches) == 1, item.instruction
    return matches[0].groups()


def test_backgrounds(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "background"):
        words = [word for word in item.instruction.split() if word in BACKGROUNDS]
        assert words == [item.target.background] != [item.source.background]
        bare = (stickers.render(item.source) == BACKGROUNDS[item.source.background]).all(axis=2)
        outside = bare.copy()
        for left, top, right, bottom in boxes(item.source):
            outside[top:bottom, left:right] = False
        assert (stickers.render(item.target)[outside] == BACKGROUNDS[item.target.background]).all()


def test_replacements(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "replace"):
        old, article, new = parsed(
            item, r"(?:replace|swap|turn|change) the ([a-z ]+) (?:with|for|into) (an? )?([a-z ]+)"
        )
        number = concepts(item.source)[singular(old)]
        assert (number == 1) == bool(article) and number > 0
        assert concepts(item.target) == concepts(item.source) - Counter({singular(old): 3}) + Counter(
            {singular(new): number}
        )
        assert boxes(item.target) == boxes(item.source)


def test_additions(drawn: list[Edit]) -> None:
    sides = "|".join(ON_SIDE)
    for item in of_kind(drawn, "add"):
        new, place = parsed(item, rf"(?:add|draw|put|put in) an? ([a-z ]+?)(?: ({sides}| *as well))?")
        assert concepts(item.target) - concepts(item.source) == Counter({new: 1})
        assert set(item.source.objects) < set(item.target.objects)
        if place in ON_SIDE:
            assert lies_at(item.target, new, side=ON_SIDE[place])


def lies_at(scene: Scene, concept: str, *, side: str) -> bool:
    (box,) = [item.box for item in scene.objects if item.concept == concept]
    across, down = box[0] + box[2] - scene.width, box[1] + box[3] - scene.height
    return {"left": across < 0, "right": across > 0, "top": down < 0, "bottom": down > 0}[side]


def test_removals(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "remove"):
        (old,) = parsed(item, r"(?:remove|erase|delete|take away) the ([a-z ]+)")
        assert concepts(item.source) - concepts(item.target) == Counter({old: 1})
        assert set(item.target.objects) < set(item.source.objects)
        assert concepts(item.source)[old] == 1


def test_moves(drawn: list[Edit]) -> None:
    sides = "|".join(ON_SIDE)
    for item in of_kind(drawn, "move"):
        old, side, place = parsed(
            item, r"(?:move|shift) the ([a-z ]+) to the ([a-z]+)()", rf"put the ([a-z ]+)() ({sides})"
        )
        assert concepts(item.target) == concepts(item.source) and concepts(item.source)[old] == 1
        assert lies_at(item.target, old, side=side or ON_SIDE[place])
        (before,) = set(item.source.objects) - set(item.target.objects)
        (after,) = set(item.target.objects) - set(item.source.objects)
        assert (before.concept, before.size) == (after.concept, after.size)
        assert sorted([before.left != after.left, before.top != after.top]) == [False, True]
        assert abs(before.left - after.left) + abs(before.top - after.top) >= 16


def test_counts(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "count"):
        number, noun = parsed(item, r"(?:make it|draw|change it to) (one|two|three) ([a-z ]+?)(?: instead)?")
        assert concepts(item.target) == Counter({singular(noun): COUNTS[number]})
        assert list(concepts(item.source)) == [singular(noun)]
        kept = set(item.source.objects) & set(item.target.objects)
        assert len(kept) == min(len(item.source.objects), COUNTS[number])


def test_styles(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "style"):
        assert item.target.style in STYLES and item.target.style != item.source.style
        assert f" {item.target.style}" in item.instruction
        places = [(thing.concept, thing.box) for thing in item.source.objects]
        assert [(thing.concept, thing.box) for thing in item.target.objects] == places


def test_colours(drawn: list[Edit]) -> None:
    for item in of_kind(drawn, "colour"):
        _, old, new = parsed(item, r"(make|paint|turn|change the colour of) the ([a-z ]+?)(?: to)? (red|green|blue)")
        (before,) = concepts(item.source) - concepts(item.target)
        (after,) = concepts(item.target) - concepts(item.source)
        hearts = [concept for concept in concepts(item.source) if concept.endswith("heart")]
        assert after == f"{new} heart"
        assert old.removesuffix("s") == (before if len(hearts) > 1 else "heart")
        assert boxes(item.target) == boxes(item.source)


@pytest.mark.parametrize("kind", KINDS)
def test_source_and_instruction_have_one_result(kind: str) -> None:
    repeats = 0
    for index in range(30):
        scene = stickers.scene(4, index)
        results: dict[str, object] = {}
        for attempt in range(60):
            change = CHANGES[kind](random.Random(attempt), scene)
            if change is not None:
                repeats += change.instruction in results
                assert results.setdefault(change.instruction, change) == change
    assert repeats > 5
