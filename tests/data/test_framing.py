"""Pictures in the frame of their bucket, and the holes that are drawn for them."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from ladd_ray.data.framing import draw_hole, frame, nearest_bucket
from ladd_ray.data.items import Item, Task
from tests.training.finetuning.runs import mask_png, png

BUCKETS = ((64, 64), (48, 96), (96, 48), (128, 128))


def item(image: bytes, *, task: Task = "generate", source: bytes = b"", mask: bytes = b"", number: int = 1) -> Item:
    return Item(number, heldout=False, task=task, prompt="a cat", image=image, source=source, mask=mask)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((70, 60), (64, 64)), ((500, 500), (128, 128)), ((100, 190), (48, 96)), ((900, 500), (96, 48))],
)
def test_the_nearest_shape_is_taken_then_the_nearest_area(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert nearest_bucket(size, BUCKETS) == bucket


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = png(48, 96)
    framed = frame(item(picture), BUCKETS)
    assert np.array_equal(framed.image, np.asarray(Image.open(io.BytesIO(picture))))
    assert not framed.gives_source


def test_pictures_are_cropped_at_the_centre() -> None:
    pixels = np.zeros((64, 192, 3), dtype=np.uint8)
    pixels[:, 64:128] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    assert frame(item(buffer.getvalue()), ((64, 64),)).image.min() == 255


def test_source_and_mask_follow_the_target_into_its_frame() -> None:
    edit = frame(item(png(64, 64), task="edit", source=png(300, 100)), BUCKETS)
    assert edit.source is not None
    assert edit.source.shape == edit.image.shape == (64, 64, 3)
    inpaint = frame(item(png(64, 64), task="inpaint", mask=mask_png(32, 32)), BUCKETS)
    assert inpaint.hole is not None
    assert inpaint.hole[:, :32].all()
    assert not inpaint.hole[:, 32:].any()


def test_transparent_becomes_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), (200, 0, 0, 0)).save(buffer, format="PNG")
    assert (frame(item(buffer.getvalue()), BUCKETS).image == 255).all()


def test_broken_pictures_are_refused() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        frame(item(b"broken"), BUCKETS)


def test_holes_belong_to_the_row() -> None:
    picture = png(64, 64)
    first, again, other = (frame(item(picture, task="inpaint", number=n), BUCKETS).hole for n in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [(64, 64), (512, 256)])
def test_holes_ask_for_something_and_leave_something(size: tuple[int, int]) -> None:
    generator = random.Random(0)
    shares = [float(draw_hole(generator, size)[::8, ::8].mean()) for _ in range(300)]
    assert 0 < min(shares) < 0.15
    assert 0.5 < max(shares) < 0.9
    assert 0.25 < np.mean(shares) < 0.45
