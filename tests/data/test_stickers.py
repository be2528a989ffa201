"""The embedded world: pure, truthful, split without leaks, and laid out inside the frame."""

import hashlib
import json
import subprocess
import sys
from itertools import combinations as unordered_pairs

import numpy as np
import pytest
from PIL import Image

from ladd_ray.data import stickers
from ladd_ray.data.artwork import CONCEPTS, STYLES, TILE, assets_folder, sprite
from ladd_ray.data.stickers import BACKGROUNDS, CATEGORIES, FRAMES, RASTER, Scene, Sticker
from ladd_ray.data.wording import NUMBERS, PLURALS

SIZES = [*FRAMES, (64, 80), (128, 64)]
DIGEST_PROGRAM = """
import hashlib
from ladd_ray.data import stickers
digest = hashlib.sha256()
for index in range(40):
    scene = stickers.scene(7, index)
    digest.update(scene.caption.encode() + stickers.render(scene).tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def train_scenes() -> list[Scene]:
    return [stickers.scene(0, index) for index in range(4000)]


@pytest.fixture(scope="module")
def heldout_scenes() -> list[Scene]:
    return [stickers.scene(0, index, split="heldout") for index in range(1500)]


def plural_of(concept: str) -> str:
    return PLURALS.get(concept, f"{concept}s")


def with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def test_same_arguments_give_the_same_bytes_in_another_process() -> None:
    digest = hashlib.sha256()
    for index in range(40):
        scene = stickers.scene(7, index)
        digest.update(scene.caption.encode() + stickers.render(scene).tobytes())
    other = subprocess.run([sys.executable, "-c", DIGEST_PROGRAM], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest.hexdigest()


def test_scenes_are_those_that_the_committed_model_was_trained_on() -> None:
    digest = hashlib.sha256()
    for index in range(500):
        height, width = FRAMES[index % 3]
        scene = stickers.scene(0, index, split=("train", "heldout")[index % 2], height=height, width=width)
        objects = [(item.concept, item.style, item.box) for item in scene.objects]
        facts = (scene.caption, scene.category, scene.background, scene.relation, scene.absent, objects)
        digest.update(repr(facts).encode())
    assert digest.hexdigest() == "4fbf9d3971c8da1a482534f7c86869bd3df5ae5cb429ad66ec4a230af857250e"


def test_seed_index_and_split_all_matter() -> None:
    base = [stickers.scene(0, index) for index in range(20)]
    assert base != [stickers.scene(1, index) for index in range(20)]
    assert base != [stickers.scene(0, index, split="heldout") for index in range(20)]
    assert len(set(base)) == 20


def test_captions_are_those_of_the_scenes() -> None:
    expected = [stickers.scene(3, index, split="heldout").caption for index in range(5, 25)]
    assert stickers.captions(3, 5, count=20, split="heldout") == expected


def test_caption_does_not_depend_on_the_frame() -> None:
    for index in range(50):
        assert stickers.scene(0, index).caption == stickers.scene(0, index, height=64, width=96).caption


def test_captions_name_style_and_background(train_scenes: list[Scene], heldout_scenes: list[Scene]) -> None:
    for scene in train_scenes + heldout_scenes:
        assert f"{with_article(scene.background)} background" in scene.caption
        assert f"{scene.style} sticker of" in scene.caption or f"in {scene.style} style" in scene.caption
        assert {item.style for item in scene.objects} == {scene.style}
        assert len(scene.caption.split()) <= 16
        assert all(character.islower() or character in " 3-" for character in scene.caption), scene.caption


def expected_phrase(scene: Scene) -> str:
    """What the caption must say about the objects, told from the scene's geometry alone."""
    concepts = [item.concept for item in scene.objects]
    first = with_article(concepts[0])
    match scene.category:
        case "single":
            return first
        case "two":
            return f"{first} and {with_article(concepts[1])}"
        case "counting":
            assert len(set(concepts)) == 1
            return f"{NUMBERS[len(concepts)]} {plural_of(concepts[0])}"
        case "position":
            return f"{first} {relation_by_boxes(*scene.objects)} {with_article(concepts[1])}"
        case "negation":
            assert scene.absent is not None and scene.absent not in concepts
            return f"{first} without {with_article(scene.absent)}"
    raise AssertionError(scene.category)


def relation_by_boxes(first: Sticker, second: Sticker) -> str:
    if first.box[2] <= second.box[0]:
        return "left of"
    if second.box[2] <= first.box[0]:
        return "right of"
    return "above" if first.box[3] <= second.box[1] else "below"


def test_captions_tell_the_truth_about_objects(train_scenes: list[Scene], heldout_scenes: list[Scene]) -> None:
    for scene in train_scenes + heldout_scenes:
        phrase = expected_phrase(scene)
        frames = [f"sticker of {phrase} on ", f"background with {phrase} in "]
        assert any(frame in scene.caption for frame in frames) or scene.caption.startswith(f"{phrase} in ")


def test_every_category_background_style_and_concept_appears(train_scenes: list[Scene]) -> None:
    assert {scene.background for scene in train_scenes} == set(BACKGROUNDS)
    assert {scene.style for scene in train_scenes} == set(STYLES)
    assert {scene.objects[0].concept for scene in train_scenes if scene.category == "single"} == set(CONCEPTS)
    for category, share in CATEGORIES.items():
        drawn = sum(scene.category == category for scene in train_scenes) / len(train_scenes)
        assert abs(drawn - share) < 0.03


def combinations_by_hand(scene: Scene) -> set[tuple[str, str, str]]:
    names = {item.concept for item in scene.objects} | ({scene.absent} if scene.absent else set())
    found = {("style", scene.style, name) for name in names}
    found |= {("pair", *pair) for pair in unordered_pairs(sorted(names), 2)}
    return found if scene.category == "single" else found | {("template", scene.category, name) for name in names}


def test_splits_share_no_held_out_combination(train_scenes: list[Scene], heldout_scenes: list[Scene]) -> None:
    trained = set().union(*map(combinations_by_hand, train_scenes))
    assert not any(map(stickers.is_held_out, trained))
    for scene in heldout_scenes:
        assert combinations_by_hand(scene) - trained
        assert any(map(stickers.is_held_out, stickers.combinations(scene)))
    assert not {scene.caption for scene in train_scenes} & {scene.caption for scene in heldout_scenes}


def test_held_out_share_is_as_stated_and_leaves_every_concept_learnable() -> None:
    pairs = [("pair", *pair) for pair in unordered_pairs(sorted(CONCEPTS), 2)]
    assert 0.06 < np.mean([stickers.is_held_out(pair) for pair in pairs]) < 0.11
    for concept in CONCEPTS:
        assert sum(not stickers.is_held_out(("style", style, concept)) for style in STYLES) >= 2


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_objects_lie_inside_the_frame_and_apart(height: int, width: int) -> None:
    for index in range(400):
        scene = stickers.scene(1, index, height=height, width=width)
        for item in scene.objects:
            left, top, right, bottom = item.box
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            assert not any(edge % RASTER for edge in item.box)
        for first, second in unordered_pairs([item.box for item in scene.objects], 2):
            apart_across = first[2] <= second[0] or second[2] <= first[0]
            assert apart_across or first[3] <= second[1] or second[3] <= first[1]


def test_single_objects_are_large(train_scenes: list[Scene]) -> None:
    sizes = {scene.objects[0].size for scene in train_scenes if scene.category == "single"}
    assert sizes == {48}


def test_render_paints_the_background_outside_the_boxes_and_something_inside() -> None:
    for index in range(100):
        scene = stickers.scene(2, index, height=64, width=96)
        image = stickers.render(scene)
        assert image.shape == (64, 96, 3) and image.dtype == np.uint8
        painted = (image != np.array(BACKGROUNDS[scene.background])).any(axis=2)
        for item in scene.objects:
            left, top, right, bottom = item.box
            assert painted[top:bottom, left:right].mean() > 0.1
            painted[top:bottom, left:right] = False
        assert not painted.any()


def test_render_blends_as_pillow_does() -> None:
    scene = stickers.scene(4, 0)
    canvas = Image.new("RGBA", (64, 64), (*BACKGROUNDS[scene.background], 255))
    for item in scene.objects:
        drawing = Image.frombytes(
            "RGBa", (item.size, item.size), sprite(item.concept, item.style, size=item.size).tobytes()
        )
        canvas.alpha_composite(drawing.convert("RGBA"), (item.left, item.top))
    difference = np.asarray(canvas.convert("RGB")).astype(int) - stickers.render(scene)
    assert abs(difference).max() <= 2


def test_index_describes_the_whole_sheet() -> None:
    index = json.loads((assets_folder() / "index.json").read_text())
    assert [(row["concept"], row["code"]) for row in index["rows"]] == list(CONCEPTS.items())
    assert (index["tile"], tuple(index["styles"])) == (TILE, STYLES)
    assert (assets_folder() / "sheet.webp").stat().st_size < 1_000_000
    assert all(f'Column "{style}"' in (assets_folder() / "NOTICE").read_text() for style in STYLES)


def test_every_drawing_is_there_and_no_two_are_alike() -> None:
    drawings = [sprite(concept, style, size=TILE) for concept in CONCEPTS for style in STYLES]
    assert all((drawing[..., 3] > 0).mean() > 0.15 for drawing in drawings)
    assert len({drawing.tobytes() for drawing in drawings}) == len(CONCEPTS) * len(STYLES)


def test_shared_drawings_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        sprite("fox", "noto", size=32)[0, 0, 0] = 1


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="at least 64"):
        stickers.scene(0, 0, height=48)
    with pytest.raises(ValueError, match="multiples of 16"):
        stickers.scene(0, 0, width=72)
    with pytest.raises(ValueError, match="choose one of fox"):
        sprite("unicorn", "noto", size=32)
    with pytest.raises(ValueError, match="choose one of noto"):
        sprite("fox", "crayon", size=32)
