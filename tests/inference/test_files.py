"""Files of pictures, and what they say about themselves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ladd_ray.inference.files import Format, Provenance, read_provenance, to_file
from tests.inference.models import photo

PICTURE = Image.fromarray(photo())
PROVENANCE = Provenance(
    "0123456789abcdef",
    "edit",
    "ein grüner \N{PEAR} apple",
    7,
    64,
    64,
    2,
    (1.0, 0.5, 0.0),
    text_guidance=3.0,
    given="ab",
)


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_the_note_is_read_back_as_it_was_written(file_format: Format) -> None:
    file = to_file(PICTURE, file_format=file_format, provenance=PROVENANCE)
    assert read_provenance(file) == PROVENANCE
    assert Image.open(io.BytesIO(file)).format == file_format.upper()


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_without_a_note_nothing_is_said(file_format: Format) -> None:
    file = to_file(PICTURE, file_format=file_format)
    assert read_provenance(file) is None
    assert b"ladd" not in file


def test_png_keeps_every_bit_and_the_others_come_near() -> None:
    def read(file: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)

    assert np.array_equal(read(to_file(PICTURE, file_format="png", provenance=PROVENANCE)), photo())
    assert abs(read(to_file(PICTURE, file_format="jpeg")) - photo()).mean() < 4
    assert abs(read(to_file(PICTURE, file_format="webp")) - photo()).mean() < 4


@pytest.mark.parametrize("file_format", ["jpeg", "webp"])
def test_lower_quality_is_smaller(file_format: Format) -> None:
    assert len(to_file(PICTURE, file_format=file_format, quality=5)) < len(to_file(PICTURE, file_format=file_format))


def test_files_that_are_none_say_so() -> None:
    with pytest.raises(ValueError, match="no picture file"):
        read_provenance(b"hello")
    changed = to_file(PICTURE, file_format="png", provenance=PROVENANCE).replace(b'"seed"', b'"sued"')
    with pytest.raises(ValueError, match=r"not as it was written|no picture file"):
        read_provenance(changed)
