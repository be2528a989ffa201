"""What hangs in a showcase: the first of every kind, in order, and nothing by choice."""

from __future__ import annotations

import numpy as np
import pytest

from ladd_ray.data.edits import KINDS, edit
from ladd_ray.data.masks import MASK_KINDS
from ladd_ray.data.stickers import CATEGORIES, render, scene
from ladd_ray.training.evaluation.exhibits import GALLERIES, edited, filled, generated


def test_scenes_are_the_first_of_their_category_in_the_square() -> None:
    rooms = generated(3, 2)
    assert list(rooms) == [*CATEGORIES, "64 x 96", "96 x 64"]
    scenes = [scene(3, index, split="heldout") for index in range(200)]
    for category in CATEGORIES:
        first = [found.caption for found in scenes if found.category == category][:2]
        assert [exhibit.sample.prompt for exhibit in rooms[category]] == first


def test_other_frames_show_the_first_scenes_whatever_they_are() -> None:
    tall = generated(3, 4)["96 x 64"]
    assert [exhibit.sample.prompt for exhibit in tall] == [
        scene(3, index, split="heldout").caption for index in range(4)
    ]
    assert {(exhibit.sample.height, exhibit.sample.width) for exhibit in tall} == {(96, 64)}
    assert [exhibit.sample.number for exhibit in tall] == [0, 1, 2, 3]


def test_edits_hang_between_source_and_exact_target() -> None:
    rooms = edited(5, 1)
    assert list(rooms) == list(KINDS)
    for kind, (exhibit,) in rooms.items():
        drawn = edit(5, exhibit.sample.number, split="heldout")
        assert (drawn.kind, drawn.instruction) == (kind, exhibit.sample.prompt)
        assert (exhibit.given[0] == render(drawn.source)).all() and (exhibit.exact[0] == render(drawn.target)).all()


def test_holes_hide_what_the_true_picture_shows() -> None:
    rooms = filled(5, 2)
    assert list(rooms) == list(MASK_KINDS)
    for exhibit in (exhibit for room in rooms.values() for exhibit in room):
        hole = exhibit.sample.hole
        assert hole is not None and (exhibit.given[0][~hole] == exhibit.exact[0][~hole]).all()
        assert len(np.unique(exhibit.given[0][hole], axis=0)) == 2


@pytest.mark.parametrize("task", GALLERIES)
def test_every_exhibit_shows_as_many_pictures_as_its_gallery_says(task: str) -> None:
    gallery = GALLERIES[task]
    for exhibit in (exhibit for room in gallery.rooms(0, 1).values() for exhibit in room):
        assert len(exhibit.given) + 1 + len(exhibit.exact) == gallery.pictures_each
