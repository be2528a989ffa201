"""The picture files: size, what is drawn where, and which panels appear."""

import numpy as np
import pytest
from PIL import Image

from ladd_ray.evaluation.pictures import GAP, LABEL_WIDTH, MARGIN, sample_grid, training_curves

CAPTIONS = [
    "a red apple",
    "two blue fish left of a very long banana in glossy 3d style on a white background",
]
RED, BLUE = (220, 20, 20), (20, 20, 220)


def flat(*colours, height=64, width=64):
    return np.stack([np.full((height, width, 3), colour, np.uint8) for colour in colours])


def opened(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_grid_shows_every_picture_in_its_place(tmp_path):
    path = tmp_path / "new" / "samples.png"
    sample_grid({"teacher, 28 steps": flat(RED, BLUE), "student": flat(BLUE, RED)}, CAPTIONS, path)
    sheet = opened(path)
    cell = 3 * 64
    assert sheet.shape[1] == 2 * MARGIN + LABEL_WIDTH + 2 * (GAP + cell)
    left, bottom = MARGIN + LABEL_WIDTH + GAP, sheet.shape[0] - MARGIN
    middles = [
        sheet[bottom - row * (cell + GAP) - cell // 2, left + column * (cell + GAP) + cell // 2]
        for row in (0, 1)
        for column in (0, 1)
    ]
    np.testing.assert_array_equal(middles, [BLUE, RED, RED, BLUE])


def test_captions_and_labels_are_drawn(tmp_path):
    sample_grid({"student": flat(RED, BLUE)}, CAPTIONS, tmp_path / "a.png")
    sheet = opened(tmp_path / "a.png")
    header = sheet[:MARGIN, :]
    assert (header == header[0, 0]).all(), "a caption runs out of the sheet"
    dark = (sheet < 130).all(axis=-1)
    assert dark[MARGIN : -MARGIN - 3 * 64, MARGIN + LABEL_WIDTH :].any()
    assert dark[-MARGIN - 3 * 64 : -MARGIN, MARGIN : MARGIN + LABEL_WIDTH].any()


def test_longer_captions_make_room(tmp_path):
    for name, captions in (("short", ["a", "b"]), ("long", CAPTIONS)):
        sample_grid({"student": flat(RED, BLUE)}, captions, tmp_path / f"{name}.png")
    assert len(opened(tmp_path / "long.png")) > len(opened(tmp_path / "short.png"))


def test_large_and_wide_pictures_are_not_enlarged(tmp_path):
    sample_grid({"student": flat(RED, height=128, width=256)}, ["a red apple"], tmp_path / "a.png")
    assert opened(tmp_path / "a.png").shape[1] == 2 * MARGIN + LABEL_WIDTH + GAP + 256


@pytest.mark.parametrize(
    "rows", [{}, {"teacher": flat(RED)}, {"teacher": flat(RED, RED), "student": flat(RED, RED, height=32)}]
)
def test_rows_that_do_not_fit_are_refused(rows, tmp_path):
    with pytest.raises(ValueError, match="row"):
        sample_grid(rows, CAPTIONS, tmp_path / "a.png")


def line(step):
    return {"step": step, "student/loss": 1 / step, "discriminator/loss": 2 - 1 / step, "unknown": 3.0}


def test_curves_grow_with_the_metrics_at_hand(tmp_path):
    few = [line(step) for step in range(1, 60)]
    many = [{**entry, "student/gradient_norm": 0.5, "throughput/images_per_second": 9.0} for entry in few]
    training_curves(few, tmp_path / "few.png", title="one")
    training_curves(many, tmp_path / "many.png")
    few_pixels, many_pixels = opened(tmp_path / "few.png"), opened(tmp_path / "many.png")
    assert few_pixels.shape[1] == many_pixels.shape[1] > 1000
    assert len(many_pixels) > 1.5 * len(few_pixels)
    assert few_pixels.std() > 5


def test_curves_of_one_step_and_of_metrics_that_begin_late(tmp_path):
    training_curves([line(1)], tmp_path / "one.png")
    training_curves([line(1), {"step": 2, "discriminator/accuracy": 0.5}], tmp_path / "late.png")
    assert opened(tmp_path / "late.png").shape == opened(tmp_path / "one.png").shape


def test_a_history_without_metrics_is_refused(tmp_path):
    with pytest.raises(ValueError, match="was a step logged"):
        training_curves([{"step": 1, "kid": 0.5}], tmp_path / "a.png")
