"""A stranger's picture file without all that its pixels do not need, and which way up it is.

Decoders unpack more than pixels: an EXIF block of 240 KB whose entries all point to its whole makes Pillow take 1 GB,
and a note, a profile or an index of further pictures is no better. So the parts of a file are walked through here,
each once and none unpacked; only what the pixels need is handed on. One number is read: EXIF's orientation.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from PIL import Image

Format = Literal["PNG", "JPEG", "WEBP"]

_MOST_PARTS: Final = 10_000
"""Of a file; decoders spend time on each, however small."""
_MOST_SCANS: Final = 200
"""Of a JPEG; a few bytes make a decoder pass over the whole picture once more."""

_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL"})
_WEBP_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
_EXIF_MARK: Final = b"Exif\0\0"
_START_OF_SCAN, _APP0, _APP1, _APP14, _APP15, _COMMENT = 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_BARE_MARKERS: Final = range(0xD0, 0xDA)
"""Those without a length, none of which may stand before the first scan."""

_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Stripped:
    """What is left."""

    format: Format
    file: bytes
    turn: Image.Transpose | None
    """That makes it upright, where it is not."""


@dataclass(frozen=True)
class _Part:
    whole: bytes
    needed: bool
    exif: bytes = b""
    """What it says about the picture, from TIFF's header on."""


def strip(file: bytes) -> Stripped:
    """The bare picture.

    Raises:
        ValueError: no PNG, JPEG or WebP, or made of more parts than any honest one.
    """
    found = _format_of(file)
    walk = {"PNG": _png_parts, "JPEG": _jpeg_parts, "WEBP": _webp_parts}[found]
    try:
        parts = list(islice(walk(file), _MOST_PARTS + 1))
    except (IndexError, struct.error) as error:
        raise ValueError("cut off") from error
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"more than {_MOST_PARTS} parts")
    bare = b"".join(part.whole for part in parts if part.needed)
    if found == "WEBP":
        bare = b"RIFF" + struct.pack("<I", 4 + len(bare)) + b"WEBP" + bare
    exif = next((part.exif for part in parts if part.exif), b"")
    return Stripped(found, bare, _TURNS.get(_orientation(exif)))


def _format_of(file: bytes) -> Format:
    if file.startswith(_PNG_START):
        return "PNG"
    if file.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if file.startswith(b"RIFF") and file[8:12] == b"WEBP":
        return "WEBP"
    raise ValueError("no PNG, JPEG or WebP")


def _png_parts(file: bytes) -> Iterator[_Part]:
    yield _Part(_PNG_START, needed=True)
    at, kind = len(_PNG_START), b""
    while at < len(file) and kind != b"IEND":
        (size,) = struct.unpack_from(">I", file, at)
        kind, whole = file[at + 4 : at + 8], file[at : at + 12 + size]
        yield _Part(whole, needed=kind in _PNG_PIXELS, exif=whole[8:-4] if kind == b"eXIf" else b"")
        at += len(whole)


def _jpeg_parts(file: bytes) -> Iterator[_Part]:
    """Segments up to the first scan, and all the rest."""
    yield _Part(file[:2], needed=True)
    at = 2
    while file[at + 1] != _START_OF_SCAN:
        marker = file[at + 1]
        if file[at] != 0xFF or marker == 0 or marker in _BARE_MARKERS:
            raise ValueError("a JPEG without the segments of one")
        if marker == 0xFF:
            yield _Part(b"", needed=False)
            at += 1
            continue
        (size,) = struct.unpack_from(">H", file, at + 2)
        yield _jpeg_segment(marker, file[at : at + 2 + size])
        at += 2 + size
    if file.count(b"\xff\xda", at) > _MOST_SCANS:
        raise ValueError(f"more than {_MOST_SCANS} scans")
    yield _Part(file[at:], needed=True)


def _jpeg_segment(marker: int, whole: bytes) -> _Part:
    says_more = marker == _COMMENT or (_APP0 < marker <= _APP15 and marker != _APP14)
    about = marker == _APP1 and whole[4:10] == _EXIF_MARK
    return _Part(whole, needed=not says_more, exif=whole[10:] if about else b"")


def _webp_parts(file: bytes) -> Iterator[_Part]:
    at = 12
    while at < len(file):
        kind = file[at : at + 4]
        (size,) = struct.unpack_from("<I", file, at + 4)
        whole = file[at : at + 8 + size + size % 2]
        yield _Part(whole, needed=kind in _WEBP_PIXELS, exif=_webp_exif(whole[8:]) if kind == b"EXIF" else b"")
        at += len(whole)


def _webp_exif(content: bytes) -> bytes:
    """Some writers put JPEG's mark before it."""
    return content.removeprefix(_EXIF_MARK)


def _orientation(exif: bytes) -> int:
    """1 to 8 by EXIF; 1, which is upright, where it says nothing that can be read."""
    with contextlib.suppress(struct.error, KeyError):
        order = {b"II*\0": "<", b"MM\0*": ">"}[exif[:4]]
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * index)
            if tag == _ORIENTATION:
                return int(value)
    return 1
