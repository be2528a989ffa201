"""An easel to choose and paint on, tiles to pick from, and pictures as Gradio holds them, all with data URLs."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from serve.errors import bad_request

_FOLDER = Path(__file__).parent
_PICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  props.value = button.dataset.index;
  trigger("select");
});
"""


@dataclass(frozen=True)
class Painting:
    """What an easel holds: data URLs."""

    image: str
    mask: str | None = None
    """White where something is painted."""
    note: str = ""
    """Said under the picture."""

    def value(self) -> str:
        """Of the easel."""
        return json.dumps({"image": self.image, "mask": self.mask, "note": self.note})


def easel(*, paints: bool, max_pixels: int) -> gr.HTML:
    """A picture to choose, and to paint on; pictures of more pixels are made smaller in the browser."""
    return gr.HTML(
        "",
        html_template=(_FOLDER / "easel.html").read_text(),
        css_template=(_FOLDER / "easel.css").read_text(),
        js_on_load=(_FOLDER / "easel.js").read_text(),
        apply_default_css=False,
        elem_classes=["flush"],
        paints=paints,
        max_pixels=max_pixels,
    )


def painting(value: str | None) -> Painting:
    """What an easel holds.

    Raises:
        ApiError: nothing.
    """
    fields = json.loads(value) if value else {}
    if not fields.get("image"):
        raise bad_request("choose a picture first")
    return Painting(fields["image"], fields.get("mask"), fields.get("note", ""))


def tiles(entries: Sequence[tuple[str, str | None]]) -> gr.HTML:
    """Examples to pick from: words, and perhaps a picture's data URL. Its value is the place of the last pick."""
    buttons = "".join(
        f'<button type="button" data-index="{index}">{_thumbnail(url)}<span>{html.escape(words)}</span></button>'
        for index, (words, url) in enumerate(entries)
    )
    return gr.HTML(
        "",
        html_template=f'<p class="quiet">For example</p><div class="tiles">{buttons}</div>',
        js_on_load=_PICK,
        apply_default_css=False,
        elem_classes=["flush"],
    )


def _thumbnail(url: str | None) -> str:
    return "" if url is None else f'<img src="{url}" alt="">'


def file_of(url: str) -> dict[str, Any]:
    """A picture as Gradio's components hold it, but with its data in the place of an address."""
    return ImageData(url=url, orig_name="picture.png", mime_type="image/png").model_dump()
