"""The endpoint's web page: a client of its API in Gradio, at /.

mounting.py    what of Gradio is reachable, and what it may be sent
layout.py      the whole page: heading, key, model, tabs
tabs.py        generate, edit, inpaint
parts.py       what several tabs have
components.py  Gradio's components with data URLs in the place of files; the easel to paint on (easel.html, .css, .js)
desk.py        what visitors ask for and are shown, without Gradio
newest.py      of a visitor's drafts only the newest
client.py      the API, called in this process as if from outside
pictures.py    uploads made fit for a model
snippets.py    a request as curl and as Python
examples.py    what to try first
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from fastapi import FastAPI


def check_gradio() -> None:
    """Raises ``ValueError``, with the way out, where Gradio is not installed."""
    if find_spec("gradio") is None:
        raise ValueError("the page needs Gradio: pip install 'ladd-ray[page]', or serve without it (page=false)")


def add_page(app: FastAPI, *, max_pixels: int, key_digests: Sequence[str]) -> None:
    """Put the page at / of an application that has the API.

    Args:
        app: with all of its routes and guards.
        max_pixels: of an uploaded picture.
        key_digests: SHA-256 of the keys that the API asks for, if any.

    Raises:
        ValueError: Gradio is not installed.
    """
    check_gradio()
    from .client import ApiClient
    from .desk import Desk
    from .layout import page_app
    from .mounting import PageMount

    desk = Desk(ApiClient(app), max_pixels=max_pixels, keyed=bool(key_digests))
    page = page_app(desk, max_pixels=max_pixels)
    app.router.routes.append(PageMount(page, key_digests=key_digests))
    app.router.lifespan_context = page.router.lifespan_context
