r"""Build the sticker sheet from the published emoji sets.

    python -m jobs.build_stickers --packages DIR

DIR holds the unpacked npm packages, one folder `<name>-<version>/package` each:

    npm pack @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 @iconify-json/fluent-emoji-flat@1.2.6 \
        @lobehub/fluent-emoji-3d@1.1.0 emojibase-data@17.0.0
"""

import argparse
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from ladd_ray.data.artwork import CONCEPTS, STYLES, TILE, assets_folder

RASTER = 256
"""Side at which vector drawings are rasterised before they are trimmed and reduced, in pixels."""

VISIBLE_ALPHA = 8
"""Pixels fainter than this do not count when a drawing is trimmed: some sets have a barely visible halo."""

PACKAGES: Mapping[str, str] = {
    "noto": "iconify-json-noto-1.2.9",
    "twemoji": "iconify-json-twemoji-1.2.5",
    "flat": "iconify-json-fluent-emoji-flat-1.2.6",
    "glossy 3d": "lobehub-fluent-emoji-3d-1.1.0",
}
NAMES_PACKAGE = "emojibase-data-17.0.0"

Artwork = Callable[[str], Image.Image]
"""From a code point key to its RGBA drawing."""


def join_key(code_points: str) -> str:
    """The key that all sets share: lower-case hex joined by hyphens, without variation selectors."""
    return "-".join(part for part in code_points.lower().split("-") if part != "fe0f")


def open_iconify(package: Path) -> Artwork:
    """Drawings of an Iconify set: SVG bodies in `icons.json`, code points in `chars.json`."""
    icons = json.loads((package / "icons.json").read_text())
    names = {join_key(code): name for code, name in json.loads((package / "chars.json").read_text()).items()}
    return lambda key: rasterise(icons, names[key])


def rasterise(icons: Mapping[str, Any], name: str) -> Image.Image:
    """Draw one Iconify icon, following aliases and their horizontal flip."""
    flipped = False
    while name in icons.get("aliases", {}):
        alias = icons["aliases"][name]
        flipped ^= bool(alias.get("hFlip", False))
        name = alias["parent"]
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    view_box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view_box}">{icon["body"]}</svg>'
    drawing = Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, width=RASTER))).convert("RGBA")
    return drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else drawing


def open_images(package: Path) -> Artwork:
    """Drawings of a set that ships one WebP file per code point under `assets`."""
    paths = {join_key(path.stem): path for path in sorted((package / "assets").glob("*.webp"))}
    return lambda key: Image.open(paths[key]).convert("RGBA")


def fit_tile(drawing: Image.Image) -> Image.Image:
    """Trim a drawing to what is visible, centre it in a square and reduce it to one tile."""
    box = drawing.getchannel("A").point(lambda alpha: 255 * (alpha >= VISIBLE_ALPHA)).getbbox()
    assert box is not None, "the drawing is empty"
    trimmed = drawing.crop(box)
    side = max(trimmed.size)
    square = Image.new("RGBA", (side, side))
    square.paste(trimmed, ((side - trimmed.width) // 2, (side - trimmed.height) // 2))
    return square.resize((TILE, TILE), Image.Resampling.LANCZOS)


def build_sheet(packages: Path) -> Image.Image:
    """Paste every concept (row) in every style (column) into one RGBA image."""
    sheet = Image.new("RGBA", (TILE * len(STYLES), TILE * len(CONCEPTS)))
    for column, style in enumerate(STYLES):
        package = packages / PACKAGES[style] / "package"
        artwork = open_iconify(package) if (package / "icons.json").exists() else open_images(package)
        for row, key in enumerate(CONCEPTS.values()):
            sheet.paste(fit_tile(artwork(key)), (column * TILE, row * TILE))
    return sheet


def build_index(packages: Path) -> dict[str, Any]:
    """Describe the sheet: tile size, column order, and each row's concept, code point and Unicode name."""
    emojis = json.loads((packages / NAMES_PACKAGE / "package" / "en" / "data.json").read_text())
    labels = {join_key(emoji["hexcode"]): emoji["label"] for emoji in emojis}
    rows = [{"concept": name, "code": key, "label": labels[key]} for name, key in CONCEPTS.items()]
    return {"tile": TILE, "styles": list(STYLES), "sources": dict(PACKAGES), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the sticker sheet from the published emoji sets.")
    parser.add_argument("--packages", type=Path, required=True, help="folder of unpacked npm packages")
    parser.add_argument("--out", type=Path, default=assets_folder(), help="where sheet and index go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sheet_path = arguments.out / "sheet.webp"
    build_sheet(arguments.packages).save(sheet_path, lossless=True, quality=100, method=6)
    (arguments.out / "index.json").write_text(json.dumps(build_index(arguments.packages), indent=1) + "\n")
    print(f"{sheet_path}: {len(CONCEPTS)} concepts x {len(STYLES)} styles, {sheet_path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
