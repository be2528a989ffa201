"""Files that somebody might upload to do harm, or by mistake; all made here."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.inference.models import photo
from tests.serve.pictures import png

PNG_START: Final = b"\x89PNG\r\n\x1a\n"


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def picture(seed: int = 0, **size: int) -> Image.Image:
    return Image.fromarray(photo(seed, **size))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(*chunks: bytes, width: int = 64, height: int = 64, rows: bytes | None = None) -> bytes:
    """A grey RGB picture of 8 bits, or whatever the rows are, with further chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\x7f" * 3 * width) * height if rows is None else rows
    body = (*chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return PNG_START + chunk(b"IHDR", header) + b"".join(body)


def exif_block(size: int) -> bytes:
    """Of as many entries as fit, each of which claims to hold the whole block."""
    entries = (size - 16) // 12
    body = b"II*\0" + struct.pack("<IH", 8, entries)
    body += b"".join(struct.pack("<HHII", index + 1, 1, size - 8, 0) for index in range(entries))
    return body.ljust(size, b"\0")


def segment(marker: int, data: bytes) -> bytes:
    """Of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_with(*segments: bytes) -> bytes:
    whole = saved(picture(), "JPEG")
    return whole[:2] + b"".join(segments) + whole[2:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def canvas(side: int, *, flags: int) -> tuple[bytes, bytes]:
    """The chunk that says how large a WebP is."""
    return b"VP8X", bytes([flags, 0, 0, 0]) + 2 * (side - 1).to_bytes(3, "little")


def webp_pixels() -> bytes:
    """The one chunk of a plain WebP, without its head."""
    return saved(picture(), "WEBP", lossless=True)[20:]


def scan_bomb(scans: int) -> bytes:
    """A JPEG that refines the same coefficients again and again."""
    whole = saved(Image.new("RGB", (128, 128), (9, 90, 200)), "JPEG", progressive=True)
    *_, before, last = (place for place in range(len(whole) - 1) if whole[place : place + 2] == b"\xff\xda")
    return whole[:last] + whole[before:last] * scans + whole[last:]


def animated(file_format: str) -> bytes:
    return saved(picture(0), file_format, save_all=True, append_images=[picture(1)])


def tiff_loop() -> bytes:
    """Whose directory says that the next directory is itself."""
    return b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 256, 4, 1, 64) + struct.pack("<I", 8)


SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd" width="64" height="64"/></svg>'


def shown(file: bytes) -> NDArray[np.uint8]:
    """By Pillow alone."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def harmless() -> dict[str, tuple[bytes, NDArray[np.uint8]]]:
    """Files that a decoder may stumble over or choke on, but whose pixels are plain; and these pixels."""
    grey, dots = np.full((64, 64, 3), 127, np.uint8), saved(picture(), "JPEG")
    deep = zlib.compress(b"\0" * 50_000_000)
    pngs = {
        "png with a note": png_file(chunk(b"tEXt", b"note\0" + b"a" * 50_000)),
        "png with bombs for notes": png_file(*3 * (chunk(b"zTXt", b"note\0\0" + deep),)),
        "png with a bomb for a profile": png_file(chunk(b"iCCP", b"sRGB\0\0" + deep)),
        "png with garbage for a profile": png_file(chunk(b"iCCP", b"\xff" * 999)),
        "png with a bomb in its exif": png_file(chunk(b"eXIf", exif_block(150_000))),
        "png with rows without end": png_file(rows=(b"\0" + b"\x7f" * 192) * 64 + b"\0" * 50_000_000),
    }
    jpegs = {
        "jpeg with bombs in its exif": jpeg_with(*3 * (segment(0xE1, b"Exif\0\0" + exif_block(60_000)),)),
        "jpeg with garbage for exif": jpeg_with(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
        "jpeg with a bomb for an index": jpeg_with(segment(0xE2, b"MPF\0" + exif_block(60_000))),
        "jpeg with garbage for a profile": jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 99)),
        "jpeg of two pictures": saved(picture(), "MPO", save_all=True, append_images=[picture(1)]),
        "jpeg with fill bytes": dots[:2] + b"\xff\xff\xff" + dots[2:],
    }
    plain, exif = webp_pixels(), (b"EXIF", exif_block(150_000))
    webps = {"webp with a bomb in its exif": riff(canvas(64, flags=0x08), (b"VP8L", plain), exif)}
    found = {name: (file, grey) for name, file in pngs.items()}
    found |= {name: (file, shown(dots)) for name, file in jpegs.items()}
    return found | {name: (file, photo()) for name, file in webps.items()}


def broken() -> dict[str, bytes]:
    """Files that show nothing."""
    files = {"png": png(photo()), "jpeg": saved(picture(), "JPEG"), "webp": saved(picture(), "WEBP")}
    cut = {
        f"{name} cut at {part:.0%}": file[: int(len(file) * part)]
        for name, file in files.items()
        for part in (0.1, 0.6)
    }
    return cut | {
        "nothing": b"",
        "text": b"hello",
        "html": b"<!doctype html><script>alert(1)</script>",
        "svg": SVG,
        "zip": b"PK\3\4" + b"\0" * 99,
        "start of a png": PNG_START,
        "start of a jpeg": b"\xff\xd8\xff",
        "start of a webp": b"RIFF\4\0\0\0WEBP",
        "png without pixels": PNG_START
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
        + chunk(b"IEND", b""),
        "png without a palette": PNG_START + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 9, 0, 0, 0)),
        "png of no size": png_file(width=0, height=64),
        "png with wrong sums": files["png"][:60] + b"\0\0\0\0" + files["png"][64:],
        "png that promises more": png_file(width=10_000, height=10_000, rows=b""),
        "png of the largest size": png_file(width=2**31 - 1, height=2**31 - 1, rows=b""),
        "png of countless parts": PNG_START + chunk(b"tEXt", b"") * 15_000,
        "jpeg of countless scans": scan_bomb(5000),
        "jpeg without segments": b"\xff\xd8\xff\xd0" + b"\xff\xe1" * 99,
        "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * 200_000,
        "webp that promises more": riff(canvas(16_384, flags=0x10), (b"VP8L", webp_pixels())),
        "webp of the largest size": riff(canvas(2**24, flags=0), (b"VP8L", webp_pixels())),
    }


def unfit() -> dict[str, bytes]:
    """Pictures of other kinds than are read, or other sizes than are drawn."""
    high = np.full((64, 64), 40_000, np.uint16)
    deep = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0), zlib.compress((b"\0" + b"\x7f" * 384) * 64)
    return {
        "gif": animated("GIF"),
        "animated png": animated("PNG"),
        "animated webp": animated("WEBP"),
        "tiff": saved(picture(), "TIFF"),
        "tiff whose directory is its next": tiff_loop(),
        "bmp": saved(picture(), "BMP"),
        "icon": saved(picture(), "ICO"),
        "cmyk": saved(picture().convert("CMYK"), "JPEG"),
        "grey of 16 bits": png(high),
        "colours of 16 bits": PNG_START + chunk(b"IHDR", deep[0]) + chunk(b"IDAT", deep[1]) + chunk(b"IEND", b""),
        "one pixel": png(np.zeros((1, 1, 3), np.uint8)),
        "one row": png(np.zeros((1, 64, 3), np.uint8)),
        "20000 pixels wide": png(np.zeros((16, 20_000, 3), np.uint8)),
        "16000 pixels high": png(np.zeros((16_000, 1, 3), np.uint8)),
    }
