"""Files to upload, and what came back."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.inference.models import hole, photo


def png(pixels: NDArray[Any], **options: Any) -> bytes:
    """A file of an array, whatever its kind."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def photo_file(seed: int = 0, **size: int) -> bytes:
    """A picture."""
    return png(photo(seed, **size))


def alpha_mask() -> bytes:
    """Alpha 0 in the hole, which is OpenAI's way."""
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[hole(), 3] = 0
    return png(rgba)


def white_mask() -> bytes:
    """White in the hole, which is everybody else's way."""
    return png(hole().astype(np.uint8) * 255)


def data_url(file: bytes) -> str:
    """For JSON."""
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def pixels_of(text: str) -> NDArray[np.int64]:
    """Of base64 (height, width, 3)."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def pictures(response: Any) -> list[NDArray[np.int64]]:
    """Of an answer."""
    return [pixels_of(image.b64_json) for image in response.data]
