"""Pictures as files that say how they were made, and what such a file says.

    data = to_file(picture, file_format="png", provenance=provenance)
    provenance = read_provenance(data)

The note is text in a PNG (key ``ladd_ray``) and EXIF's UserComment in JPEG and WebP; JSON in both.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from PIL import ExifTags, Image, PngImagePlugin

Format = Literal["png", "jpeg", "webp"]

_KEY: Final = "ladd_ray"
_ASCII: Final = b"ASCII\0\0\0"
"""How EXIF's UserComment says that ASCII follows, which JSON is."""
_PNG_LEVEL: Final = 1
"""Half the time of Pillow's default, for files about a tenth larger."""


@dataclass(frozen=True)
class Provenance:
    """Everything that a picture follows from, but for the pictures it was given."""

    model: str
    """16 hex digits, see ``models.folder.fingerprint``."""
    task: str
    prompt: str
    seed: int
    height: int
    width: int
    num_inference_steps: int
    sigmas: tuple[float, ...]
    text_guidance: float | None = None
    """None where it was the model's own, as for the image guidance."""
    image_guidance: float | None = None
    given: str | None = None
    """SHA-256 of the pixels of the given picture, and of the hole if there is one."""


def to_file(
    image: Image.Image, *, file_format: Format, quality: int | None = None, provenance: Provenance | None = None
) -> bytes:
    """The picture as the bytes of a file.

    Args:
        image: RGB.
        file_format: PNG keeps every bit; the others do not.
        quality: 0 to 100, of JPEG and WebP; by default 95.
        provenance: what the file says about the picture; nothing by default.
    """
    buffer = io.BytesIO()
    note = None if provenance is None else json.dumps(asdict(provenance))
    if file_format == "png":
        image.save(buffer, format="PNG", compress_level=_PNG_LEVEL, pnginfo=_png_note(note))
    else:
        exif = b"" if note is None else _exif_note(note)
        image.save(buffer, format=file_format.upper(), quality=95 if quality is None else quality, exif=exif)
    return buffer.getvalue()


def read_provenance(file: bytes) -> Provenance | None:
    """What a file says about its picture; None where it says nothing that we wrote.

    Raises:
        ValueError: no picture, or a note that was changed.
    """
    try:
        with Image.open(io.BytesIO(file)) as image:
            note = image.info.get(_KEY) or _from_exif(image)
    except OSError as error:
        raise ValueError("this is no picture file that can be read: give the PNG, JPEG or WebP as it came") from error
    if note is None:
        return None
    try:
        found = json.loads(note)
        return Provenance(**{**found, "sigmas": tuple(found["sigmas"])})
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError("the note in this picture is not as it was written") from error


def _png_note(note: str | None) -> PngImagePlugin.PngInfo | None:
    if note is None:
        return None
    info = PngImagePlugin.PngInfo()
    info.add_itxt(_KEY, note)
    return info


def _exif_note(note: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _ASCII + note.encode()
    return exif.tobytes()


def _from_exif(image: Image.Image) -> str | None:
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII + b'{"model"'):
        return None
    return comment.removeprefix(_ASCII).decode()
