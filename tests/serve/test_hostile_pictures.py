"""Hostile files meet a clear refusal, or a picture as plain as any, in little memory; masks likewise."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from PIL import Image

from serve.errors import ApiError, Refusal
from serve.orders import Given
from serve.uploads import read_given
from tests.inference.models import hole, photo
from tests.ports import HOST
from tests.serve.endpoints import KEY
from tests.serve.hostile_pictures import broken, harmless, picture, saved, shown, unfit
from tests.serve.pictures import alpha_mask, data_url, photo_file, pictures, png, white_mask

HARMLESS, BROKEN, UNFIT = harmless(), broken(), unfit()
MOST_PIXELS = 2 * 1024 * 1024
MOST_GROWTH = 64 * 1024**2
"""Bytes that a file of 300 KB may take at its peak; some would take gigabytes."""


def read(image: bytes, mask: bytes | None = None, **options: Any) -> Given:
    return read_given([image], mask, **{"polarity": "openai", "max_pixels": MOST_PIXELS, **options})


def memory(key: str) -> int:
    """Of this process in bytes: VmRSS now, VmHWM at its peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


@contextmanager
def little_memory() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < MOST_GROWTH


@pytest.mark.parametrize("name", HARMLESS)
def test_what_surrounds_the_pixels_is_not_unpacked(name: str) -> None:
    file, expected = HARMLESS[name]
    with little_memory():
        assert np.array_equal(read(file).image, expected)


def outcome(image: bytes, mask: bytes | None = None) -> Given | Refusal:
    try:
        return read(image, mask)
    except ApiError as error:
        return error.refusal


READABLE = {"one pixel", "one row", "20000 pixels wide", "16000 pixels high"}
"""Which no model draws, but that is not for the reader to say."""


@pytest.mark.parametrize("name", [*BROKEN, *UNFIT])
def test_bad_files_take_little_memory(name: str) -> None:
    file = {**BROKEN, **UNFIT}[name]
    with little_memory():
        found, as_mask = outcome(file), outcome(photo_file(), file)
    assert isinstance(as_mask, Refusal)
    assert (as_mask.status, as_mask.param) == (400, "mask")
    assert (name in READABLE) == isinstance(found, Given)
    if isinstance(found, Refusal):
        assert (found.status, found.param) == (400, "image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_files_with_random_damage_are_read_or_refused(kind: str) -> None:
    whole, chance = saved(picture(), kind), np.random.default_rng(0)
    found: list[Given | Refusal] = []
    for _ in range(200):
        file = bytearray(whole)
        for place in chance.integers(0, len(file), 1 + chance.integers(4)):
            file[place] = chance.integers(256)
        found.append(outcome(bytes(file)))
    refusals = [each for each in found if isinstance(each, Refusal)]
    assert 0 < len(refusals) < 200
    assert {(refusal.status, refusal.param) for refusal in refusals} == {(400, "image")}
    assert all(each.image.shape[2] == 3 for each in found if isinstance(each, Given))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_turned_upright_and_their_masks_with_them(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = saved(picture(width=96), kind, exif=exif)
    assert np.array_equal(read(lying).image, shown(lying))
    width, height = (64, 96) if orientation > 4 else (96, 64)
    upright = np.zeros((height, width), bool)
    upright[8:30, 4:50] = True
    given = read(lying, png(upright.astype(np.uint8) * 255), polarity="white")
    assert given.hole is not None
    assert np.array_equal(given.hole, upright)
    turned = read(lying, saved(Image.fromarray(255 - photo(width=96)), kind, exif=exif), polarity="white")
    assert turned.hole is not None
    assert turned.hole.shape == (height, width)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mark", [b"", b"Exif\0\0"])
def test_exif_of_either_byte_order_is_read(order: str, mark: bytes) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = 3
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    file = saved(picture(), "WEBP", lossless=True, exif=mark + block)
    assert np.array_equal(read(file).image, photo()[::-1, ::-1])


def over_alpha() -> NDArray[np.uint8]:
    """Colours everywhere, also where nothing shows."""
    alpha = np.where(hole(), 0, 255).astype(np.uint8)
    return np.dstack([photo(), alpha])


def test_colours_under_alpha_are_the_pictures_own() -> None:
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        file = saved(Image.fromarray(over_alpha()), kind, **options)
        given = read(file, file)
        assert np.array_equal(given.image, photo())
        assert given.hole is not None
        assert np.array_equal(given.hole, hole())
        with pytest.raises(ApiError, match="transparent pixels"):
            read(file)


@pytest.mark.parametrize(
    ("mask", "polarity", "filled"),
    [
        (np.zeros((64, 64, 4), np.uint8), "openai", 1.0),
        (np.full((64, 64, 4), 255, np.uint8), "openai", None),
        (np.full((64, 64, 4), 254, np.uint8), "openai", None),
        (np.full((64, 64, 3), 255, np.uint8), "openai", None),
        (np.full((64, 64), 255, np.uint8), "white", 1.0),
        (np.full((64, 64, 3), 127, np.uint8), "white", None),
        (np.zeros((64, 64, 4), np.uint8), "white", None),
        (np.full((64, 80), 255, np.uint8), "white", None),
        (np.full((1, 1), 255, np.uint8), "white", None),
    ],
)
def test_masks_mean_one_thing_or_are_refused(mask: NDArray[np.uint8], polarity: str, filled: float | None) -> None:
    if filled is None:
        with pytest.raises(ApiError) as caught:
            read(photo_file(), png(mask), polarity=polarity)
        assert caught.value.refusal.param == "mask"
        return
    given = read(photo_file(), png(mask), polarity=polarity)
    assert given.hole is not None
    assert given.hole.mean() == filled


def test_the_endpoint_outlives_every_file(client: openai.OpenAI) -> None:
    """Each is refused as what it is, in whatever place, and a good request is answered as ever."""
    good: dict[str, Any] = {"prompt": "a cat", "image": photo_file()}
    ask: dict[str, Any] = {**good, "mask": alpha_mask(), "extra_body": {"seed": 1, "num_inference_steps": 1}}
    before = client.images.edit(**ask)
    for name, file in {**BROKEN, **UNFIT}.items():
        for place in ("image", "mask"):
            with pytest.raises(openai.BadRequestError) as caught:
                client.images.edit(**{**good, place: ("photo.png", file, "image/png")})
            assert caught.value.param == place, name
    after = client.images.edit(**ask)
    assert np.array_equal(pictures(before)[0], pictures(after)[0])


@pytest.mark.parametrize("name", ["png with a bomb in its exif", "jpeg with bombs in its exif", "jpeg of two pictures"])
def test_harmless_oddities_are_filled_like_any_picture(client: openai.OpenAI, name: str) -> None:
    file, expected = HARMLESS[name]
    found = client.images.edit(
        prompt="a cat",
        image=("picture.webp", file, "application/octet-stream"),
        mask=white_mask(),
        extra_body={"mask_polarity": "white", "num_inference_steps": 1},
    )
    assert np.array_equal(pictures(found)[0][~hole()], expected[~hole()])


@contextmanager
def trap() -> Iterator[tuple[str, list[bool]]]:
    """An address that notes whether anybody comes."""
    visits: list[bool] = []
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(0.5)

        def wait() -> None:
            try:
                server.accept()[0].close()
                visits.append(True)
            except TimeoutError:
                pass

        thread = threading.Thread(target=wait)
        thread.start()
        yield f"http://{HOST}:{server.getsockname()[1]}/a.png", visits
        thread.join()


def by_url(address: str, url: str, **fields: Any) -> httpx2.Response:
    body = {"prompt": "a cat", "images": [{"image_url": url}], **fields}
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx2.post(f"{address}/v1/images/edits", json=body, headers=headers, timeout=60)


def test_nothing_is_fetched_from_elsewhere(address: str) -> None:
    with trap() as (url, visits):
        answers = [by_url(address, url), by_url(address, data_url(photo_file()), mask={"image_url": url})]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert [answer.json()["error"]["param"] for answer in answers] == ["images", "mask"]
    assert not visits


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "ftp://example.org/a.png",
        "data:,",
        "data:text/plain;base64,aGVsbG8=",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png,hello",
        "data:image/png;base64,",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,YQ",
        "data:image/png;base64,YQ==\n",
        "data:image/png;base64,\u00e4\u00e4\u00e4\u00e4",
        "data:image/png;base64,aGVsbG8=",
        "\0",
    ],
)
def test_other_urls_are_refused(address: str, url: str) -> None:
    answer = by_url(address, url)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["param"] in ("images", "image")


def test_a_file_is_what_it_holds_and_not_what_it_is_called(address: str) -> None:
    for kind in ("JPEG", "WEBP"):
        file = saved(picture(), kind)
        answer = by_url(address, data_url(file), num_inference_steps=1, mask={"image_url": data_url(alpha_mask())})
        assert answer.status_code == 200
