"""Pictures and masks from strangers: small enough, whole, and of a kind that means one thing.

Only the pixels' own parts of a file are looked at, and their size is read before any is unpacked: so that a small
file can neither fill the memory nor take long.

Shape legend: H W height and width in pixels.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from .errors import ApiError, bad_request
from .orders import Given
from .stripping import Format, strip

_READERS: Final[dict[Format, type[ImageFile]]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
"""By themselves: ``Image.open`` would follow a JPEG's index of further pictures."""
_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Whose conversion to 8 bits a channel loses nothing."""
_DATA_URL: Final = re.compile(r"data:image/(?:png|jpe?g|webp);base64,", re.IGNORECASE)

MaskPolarity = Literal["openai", "white"]


def read_given(images: list[bytes], mask: bytes | None, *, polarity: MaskPolarity, max_pixels: int) -> Given:
    """What an edit starts from.

    Args:
        images: files, of which there must be one.
        mask: a file of the same size, or none.
        polarity: what the mask marks for change.
        max_pixels: of each file.

    Raises:
        ApiError: the files are not what they should be.
    """
    if len(images) != 1:
        raise bad_request(f"{len(images)} pictures were given: this model edits one at a time", param="image")
    picture = _open(images[0], param="image", max_pixels=max_pixels)
    if mask is None:
        if _has_holes(picture):
            raise bad_request(
                "the picture has transparent pixels: send it as mask, too, to fill them, or make it opaque",
                param="image",
            )
        return Given(_pixels(picture))
    marks = _open(mask, param="mask", max_pixels=max_pixels)
    if marks.size != picture.size:
        raise bad_request(
            f"the mask is {_size(marks)}, and the picture {_size(picture)}: make them equal", param="mask"
        )
    return Given(_pixels(picture), _hole(marks, polarity))


def from_data_url(url: str, *, param: str) -> bytes:
    """The file in a data URL.

    Raises:
        ApiError: another kind of URL, or broken base64.
    """
    start = _DATA_URL.match(url)
    if start is None:
        raise bad_request("use a data URL (data:image/png;base64,...): nothing is fetched from elsewhere", param=param)
    try:
        return base64.b64decode(url[start.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request("the data URL is no valid base64", param=param) from error


def _open(file: bytes, *, param: str, max_pixels: int) -> Image.Image:
    """The upright picture of a file, unpacked."""
    try:
        stripped = strip(file)
        with _READERS[stripped.format](io.BytesIO(stripped.file)) as image:
            _check_header(image, param=param, max_pixels=max_pixels)
            image.load()
            return image.copy() if stripped.turn is None else image.transpose(stripped.turn)
    except ApiError:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever they stumble upon: for a stranger's file that is never our fault.
        message = f"this is no whole {', '.join(_READERS)} file"
        raise bad_request(message, param=param, code="invalid_image") from error


def _check_header(image: ImageFile, *, param: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise bad_request(f"{_size(image)} is too large: at most {max_pixels} pixels", param=param)
    if getattr(image, "n_frames", 1) != 1:
        raise bad_request("animations cannot be edited: send one picture", param=param)
    if image.mode not in _MODES or any(";16" in str(tile.args) for tile in image.tile):
        raise bad_request(f"pictures of mode {image.mode} are not read: save it as RGB of 8 bits", param=param)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    return np.asarray(image.convert("RGB"))


def _has_holes(image: Image.Image) -> bool:
    return image.has_transparency_data and bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _hole(mask: Image.Image, polarity: MaskPolarity) -> NDArray[np.bool_]:
    """(H, W), True where the picture is to change."""
    if polarity == "white":
        hole = np.asarray(mask.convert("L")) > 127
    elif not mask.has_transparency_data:
        raise bad_request(
            "the mask has no alpha channel, and alpha 0 marks what to change: add one, or set mask_polarity to white",
            param="mask",
        )
    else:
        hole = np.asarray(mask.convert("RGBA"))[..., 3] == 0
    if not hole.any():
        raise bad_request("the mask marks nothing for change: is it inverted? See mask_polarity", param="mask")
    return hole


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
