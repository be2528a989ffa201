"""Free places: by rule, on the raster, and `None` where there are none."""

from ladd_ray.data.places import another, depth, moved, overlap
from ladd_ray.data.stickers import Scene, Sticker


def sticker(concept: str, left: int, top: int, size: int = 32) -> Sticker:
    return Sticker(concept, "flat", left=left, top=top, size=size)


def scene_of(*objects: Sticker, height: int = 64, width: int = 64) -> Scene:
    return Scene(objects, "white", "flat", caption="", category="two", height=height, width=width)


def test_overlap_means_a_pixel_in_common() -> None:
    fox = sticker("fox", 16, 16)
    assert overlap(fox, sticker("owl", 32, 32))
    assert not overlap(fox, sticker("owl", 48, 16))
    assert not overlap(fox, sticker("owl", 16, 48))


def test_depth_is_measured_from_the_side_to_the_centre() -> None:
    scene = scene_of(sticker("fox", 16, 16), height=80, width=64)
    depths = [depth(scene.objects[0], side, scene=scene) for side in ("left", "right", "top", "bottom")]
    assert depths == [0.5, 0.5, 0.4, 0.6]


def test_another_takes_the_first_free_place_in_reading_order() -> None:
    assert another(scene_of(sticker("fox", 0, 0)), "owl") == sticker("owl", 32, 0)
    assert another(scene_of(sticker("fox", 16, 0)), "owl") == sticker("owl", 0, 32)
    assert another(scene_of(sticker("fox", 32, 16)), "owl") == sticker("owl", 0, 0)


def test_another_goes_to_the_side_asked_for() -> None:
    scene = scene_of(sticker("fox", 0, 0))
    assert another(scene, "owl", side="left") == sticker("owl", 0, 32)
    assert another(scene, "owl", side="right") == sticker("owl", 32, 0)
    assert another(scene, "owl", side="bottom") == sticker("owl", 0, 32)


def test_another_is_as_large_as_the_largest_that_fits() -> None:
    roomy = scene_of(sticker("fox", 0, 0), sticker("bee", 32, 0, size=48), width=128)
    assert another(roomy, "owl") == sticker("owl", 80, 0, size=48)
    crowded = scene_of(sticker("fox", 0, 0, size=48), sticker("bee", 64, 0), width=96)
    assert another(crowded, "owl") == sticker("owl", 48, 32)
    assert another(scene_of(sticker("fox", 16, 16, size=48)), "owl") is None


def test_moved_goes_straight_and_passes_others() -> None:
    fox, bee = sticker("fox", 32, 16), sticker("bee", 0, 0)
    assert moved(scene_of(fox), fox, side="left") == sticker("fox", 0, 16)
    assert moved(scene_of(fox), fox, side="bottom") == sticker("fox", 32, 32)
    wide = scene_of(sticker("fox", 64, 16), sticker("bee", 32, 0), width=96)
    assert moved(wide, wide.objects[0], side="left") == sticker("fox", 0, 16)
    assert moved(scene_of(fox, bee), fox, side="left") is None, "the bee is where the fox should go"


def test_moved_must_be_a_move() -> None:
    there = sticker("fox", 0, 16)
    assert moved(scene_of(there), there, side="left") is None
    large = sticker("fox", 0, 0, size=48)
    assert moved(scene_of(large), large, side="right") == sticker("fox", 16, 0, size=48)
    assert moved(scene_of(large), large, side="left") is None
