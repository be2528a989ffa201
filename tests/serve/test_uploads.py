"""Files from strangers: masks of both kinds, bombs, and everything that is no picture."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve.errors import ApiError
from serve.orders import Given
from serve.uploads import MaskPolarity, from_data_url, read_given
from tests.inference.models import hole, photo
from tests.serve.pictures import alpha_mask, data_url, photo_file, png, white_mask

MOST = 128 * 128


def read(image: bytes, mask: bytes | None = None, polarity: MaskPolarity = "openai") -> Given:
    return read_given([image], mask, polarity=polarity, max_pixels=MOST)


def refusal(*arguments: Any) -> tuple[str | None, str]:
    with pytest.raises(ApiError) as caught:
        read(*arguments)
    assert caught.value.refusal.status == 400
    return caught.value.refusal.param, caught.value.refusal.message


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mask", "polarity"), [(alpha_mask(), "openai"), (white_mask(), "white")])
def test_both_kinds_of_masks_mean_the_same(mask: bytes, polarity: MaskPolarity) -> None:
    given = read(photo_file(), mask, polarity)
    assert given.hole is not None
    assert np.array_equal(given.hole, hole())
    assert np.array_equal(given.image, photo())


def test_only_alpha_0_is_a_hole() -> None:
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 1
    found = read(photo_file(), png(rgba)).hole
    assert found is not None
    assert np.argwhere(found).tolist() == [[0, 0]]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_pictures_of_every_usual_mode_are_read(mode: str) -> None:
    picture = Image.fromarray(photo()).convert(mode)
    assert np.array_equal(read(saved(picture, "PNG")).image, np.asarray(picture.convert("RGB")))


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    lying = saved(Image.fromarray(photo(height=64, width=32)), "PNG", exif=exif)
    assert np.array_equal(read(lying).image, np.rot90(photo(height=64, width=32), -1))


def test_masks_that_say_nothing_are_refused() -> None:
    assert refusal(photo_file(), white_mask(), "openai") == (
        "mask",
        "the mask has no alpha channel, and alpha 0 marks what to change: add one, or set mask_polarity to white",
    )
    opaque, black = np.full((64, 64, 4), 255, np.uint8), np.zeros((64, 64), np.uint8)
    assert refusal(photo_file(), png(opaque))[1].startswith("the mask marks nothing")
    assert refusal(photo_file(), png(black), "white")[1].startswith("the mask marks nothing")


def test_sizes_must_agree() -> None:
    param, message = refusal(photo_file(width=80), alpha_mask())
    assert (param, message) == ("mask", "the mask is 64x64, and the picture 80x64: make them equal")


def test_holes_in_the_picture_itself_are_not_passed_over() -> None:
    assert refusal(alpha_mask())[0] == "image"
    assert read(alpha_mask(), alpha_mask()).hole is not None


def test_one_picture_at_a_time() -> None:
    for images in ([], [photo_file()] * 2):
        with pytest.raises(ApiError, match="one at a time"):
            read_given(images, None, polarity="openai", max_pixels=MOST)


def test_too_many_pixels_are_refused_before_they_are_unpacked() -> None:
    assert refusal(photo_file(height=128, width=144)) == ("image", "144x128 is too large: at most 16384 pixels")
    read(photo_file(height=128, width=128))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than any machine has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 2**31 - 1])
def test_a_bomb_does_not_go_off(side: int) -> None:
    param, _ = refusal(bomb(side, side))
    assert param == "image"


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"hello",
        photo_file()[:200],
        bomb(64, 64),
        saved(Image.fromarray(photo()), "GIF"),
        saved(Image.fromarray(photo()).convert("CMYK"), "JPEG"),
        saved(Image.fromarray(np.full((64, 64), 40_000, np.uint16)), "PNG"),
        saved(Image.fromarray(photo(0)), "WEBP", save_all=True, append_images=[Image.fromarray(photo(1))]),
    ],
    ids=["empty", "text", "cut", "hollow", "gif", "cmyk", "16 bit", "animation"],
)
def test_what_is_no_plain_picture_is_refused(file: bytes) -> None:
    assert refusal(file)[0] == "image"
    assert refusal(photo_file(), file)[0] == "mask"


def test_data_urls_are_read_and_nothing_else() -> None:
    assert from_data_url(data_url(b"abc"), param="images") == b"abc"
    for wrong in ("https://example.org/a.png", "data:text/plain;base64,YQ==", "data:image/png;base64,???", "file:///a"):
        with pytest.raises(ApiError) as caught:
            from_data_url(wrong, param="images")
        assert caught.value.refusal.param == "images"
