"""Verdicts by hand, scores in closed form, and the committed judge on true, shuffled and empty pictures."""

import json
from dataclasses import replace
from functools import cache
from statistics import mean

import numpy as np
import pytest

from ladd_ray.data import stickers
from ladd_ray.data.stickers import Scene, Sticker
from ladd_ray.evaluation.judge import overlap, placed, prompt_scores, related, share, verdict
from ladd_ray.models.judge import Found, Judge, Reading

CAT, DOG = Sticker("cat", "flat", left=0, top=16, size=24), Sticker("dog", "flat", left=32, top=24, size=32)
SCENE = Scene((CAT, DOG), "blue", "flat", "a caption", "two", height=64, width=64)


def found(item: Sticker) -> Found:
    return Found(item.concept, item.style, item.left, item.top, item.size, confidence=1.0)


def seen(scene: Scene) -> Reading:
    """The reading of a perfect picture."""
    return Reading(tuple(map(found, scene.objects)), scene.background)


def test_perfect_reading_has_every_fact():
    one = verdict(seen(SCENE), SCENE)
    assert one.objects and one.background and one.style and one.all_right
    assert one.relation is None and one.absent is None


@pytest.mark.parametrize(
    ("scene", "wrong"),
    [
        (replace(SCENE, objects=(CAT,)), {"objects"}),
        (replace(SCENE, objects=(CAT, DOG, CAT)), {"objects"}),
        (replace(SCENE, objects=(CAT, replace(DOG, concept="fox"))), {"objects"}),
        (replace(SCENE, objects=(CAT, CAT)), {"objects"}),
        (replace(SCENE, objects=()), {"objects", "style"}),
        (replace(SCENE, background="pink"), {"background"}),
        (replace(SCENE, objects=tuple(replace(item, style="noto") for item in SCENE.objects)), {"style"}),
    ],
)
def test_each_error_costs_its_fact(scene, wrong):
    one = verdict(seen(scene), SCENE)
    assert {fact for fact in ("objects", "background", "style") if not getattr(one, fact)} == wrong
    assert not one.all_right


def test_places_do_not_matter_without_a_relation():
    moved = replace(SCENE, objects=(replace(DOG, left=0, top=0), replace(CAT, left=40, top=40)))
    assert verdict(seen(moved), SCENE).all_right


@pytest.mark.parametrize(
    ("dog", "relations"),
    [
        ((40, 0), {"right of"}),
        ((-40, 0), {"left of"}),
        ((0, -40), {"above"}),
        ((0, 40), {"below"}),
        ((40, 40), {"right of", "below"}),
        ((40, 20), {"right of"}),
        ((0, 0), set()),
    ],
)
def test_relation_is_the_direction(dog, relations):
    one, other = found(replace(CAT, left=dog[0], top=dog[1])), found(replace(CAT, left=0, top=0))
    assert {relation for relation in stickers.RELATIONS if related(one, other, relation=relation)} == relations


def test_relation_needs_both_objects_once():
    scene = replace(SCENE, category="position", relation="left of")
    assert verdict(seen(scene), scene).all_right
    swapped = replace(scene, relation="right of")
    assert not verdict(seen(scene), swapped).prompt
    twice = replace(scene, objects=(CAT, DOG, replace(CAT, top=40)))
    assert verdict(seen(twice), scene).relation is False


def test_absent_concept_must_be_absent():
    scene = replace(SCENE, objects=(CAT,), category="negation", absent="dog")
    assert verdict(seen(scene), scene).absent
    assert verdict(seen(SCENE), scene).absent is False


def test_scores_are_shares_by_category():
    single = replace(SCENE, objects=(CAT,), category="single")
    readings = [seen(SCENE), seen(single), seen(single), replace(seen(single), background="pink")]
    score = prompt_scores(readings, [SCENE, SCENE, single, single])
    assert {name: (part.value, part.n) for name, part in score.categories.items()} == {
        "single": (1.0, 2),
        "two": (0.5, 2),
    }
    assert score.overall == 0.75
    assert (score.background.value, score.style.value, score.all_right.value) == (0.75, 1.0, 0.5)
    assert {size: (part.value, part.n) for size, part in score.by_size.items()} == {"64x64": (0.5, 4)}
    assert json.loads(json.dumps(score.to_dict()))["categories"]["two"]["value"] == 0.5


def test_every_picture_size_has_its_own_share():
    wide = replace(SCENE, width=96)
    score = prompt_scores([seen(SCENE), seen(wide), seen(replace(wide, background="pink"))], [SCENE, wide, wide])
    assert {size: (part.value, part.n) for size, part in score.by_size.items()} == {"64x64": (1, 1), "64x96": (0.5, 2)}


def test_one_reading_for_each_scene():
    with pytest.raises(ValueError, match="one picture for each scene"):
        prompt_scores([seen(SCENE)], [])


def test_interval_is_wilsons():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 has the interval 0.2553 to 0.3662.
    assert share([True] * 81 + [False] * 182).half_width == pytest.approx((0.3662 - 0.2553) / 2, abs=1e-4)
    assert share([True] * 50).half_width > 0.03


def test_overlap_is_of_squares():
    assert overlap(found(CAT), CAT) == 1
    assert overlap(found(replace(CAT, left=12)), CAT) == pytest.approx(1 / 3)
    assert overlap(found(replace(CAT, left=30, top=60)), CAT) == 0


def test_object_is_placed_by_concept_and_square():
    assert placed(seen(SCENE), SCENE) == [True, True]
    moved = replace(SCENE, objects=(replace(CAT, left=16), replace(DOG, left=36)))
    assert placed(seen(moved), SCENE) == [False, True]


@cache
def judge() -> Judge:
    return Judge.from_pretrained()


def scenes(height=64, width=64, *, count=150) -> list[Scene]:
    return [stickers.scene(11, index, split="heldout", height=height, width=width) for index in range(count)]


def read(drawn: list[Scene]) -> list[Reading]:
    return judge().read(np.stack([stickers.render(scene) for scene in drawn]))


@pytest.mark.parametrize(("height", "width"), stickers.FRAMES)
def test_true_pictures_score_high(height, width):
    drawn = scenes(height, width)
    readings = read(drawn)
    score = prompt_scores(readings, drawn)
    assert score.all_right.value >= 0.98
    assert score.overall >= 0.97
    assert mean(there for pair in zip(readings, drawn, strict=True) for there in placed(*pair)) >= 0.98


def test_objects_off_the_raster_are_read_too():
    moved = [
        replace(scene, objects=tuple(replace(item, left=item.left + 3, top=item.top + 2) for item in scene.objects))
        for scene in scenes(count=300)
        if all(max(item.box[2:]) <= 61 for item in scene.objects)
    ]
    assert len(moved) > 20
    assert prompt_scores(read(moved), moved).all_right.value >= 0.95


def test_pictures_of_other_prompts_score_low():
    drawn = scenes()
    score = prompt_scores(read(drawn), drawn[1:] + drawn[:1])
    assert score.overall < 0.1
    assert score.background.value < 0.3 and score.style.value < 0.45


def test_noise_and_blank_pictures_score_nothing():
    drawn = scenes()
    noise = np.random.default_rng(0).integers(0, 256, (len(drawn), 64, 64, 3), dtype=np.uint8)
    blank = [replace(scene, objects=()) for scene in drawn]
    for readings in (judge().read(noise), read(blank)):
        assert prompt_scores(readings, drawn).overall < 0.02
    assert prompt_scores(read(blank), drawn).background.value > 0.95
