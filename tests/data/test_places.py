"""Free places: by rule, on the raster, and `None` where there are none."""

from ladd_ray.data.places import another, depth, moved, overlap
from ladd_ray.data.stickers import Scene, Sticker


def sticker(concept: str, left: int, top: int, size: int = 24) -> Sticker:
    return Sticker(concept, "flat", left=left, top=top, size=size)


def scene_of(*objects: Sticker, height: int = 64, width: int = 64) -> Scene:
    return Scene(objects, "white", "flat", caption="", category="two", height=height, width=width)


def test_overlap_means_a_pixel_in_common() -> None:
    fox = sticker("fox", 8, 8)
    assert overlap(fox, sticker("owl", 24, 24))
    assert not overlap(fox, sticker("owl", 32, 8))
    assert not overlap(fox, sticker("owl", 8, 32))


def test_depth_is_measured_from_the_side_to_the_centre() -> None:
    scene = scene_of(sticker("fox", 8, 16), height=80, width=40)
    depths = [depth(scene.objects[0], side, scene=scene) for side in ("left", "right", "top", "bottom")]
    assert depths == [0.5, 0.5, 0.35, 0.65]


def test_another_takes_the_first_free_place_in_reading_order() -> None:
    assert another(scene_of(sticker("fox", 0, 0)), "owl") == sticker("owl", 24, 0)
    assert another(scene_of(sticker("fox", 16, 0)), "owl") == sticker("owl", 40, 0)
    assert another(scene_of(sticker("fox", 24, 8)), "owl") == sticker("owl", 0, 0)


def test_another_goes_to_the_side_asked_for() -> None:
    scene = scene_of(sticker("fox", 0, 0))
    assert another(scene, "owl", side="left") == sticker("owl", 0, 24)
    assert another(scene, "owl", side="right") == sticker("owl", 40, 0)
    assert another(scene, "owl", side="bottom") == sticker("owl", 0, 40)


def test_another_is_as_large_as_the_largest_that_fits() -> None:
    assert another(scene_of(sticker("fox", 0, 0), sticker("bee", 0, 32, size=32)), "owl") == sticker(
        "owl", 24, 0, size=32
    )
    crowded = scene_of(sticker("fox", 0, 0, size=40), sticker("bee", 40, 40))
    assert another(crowded, "owl") == sticker("owl", 40, 0)
    assert another(scene_of(sticker("fox", 8, 8, size=48)), "owl") is None


def test_moved_goes_straight_and_passes_others() -> None:
    fox, bee = sticker("fox", 40, 8), sticker("bee", 16, 0)
    assert moved(scene_of(fox), fox, side="left") == sticker("fox", 0, 8)
    assert moved(scene_of(fox), fox, side="bottom") == sticker("fox", 40, 40)
    wide = scene_of(sticker("fox", 56, 8), sticker("bee", 24, 0), width=80)
    assert moved(wide, wide.objects[0], side="left") == sticker("fox", 0, 8)
    assert moved(scene_of(fox, bee), fox, side="left") is None, "the way ends beside the bee, not on the left"


def test_moved_must_be_a_move() -> None:
    there = sticker("fox", 8, 16)
    assert moved(scene_of(there), there, side="left") is None
    large = sticker("fox", 8, 8, size=48)
    assert moved(scene_of(large), large, side="left") is None
