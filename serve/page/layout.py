"""The whole page: a heading, where to enter a key, the choice of a model, and a tab for each task."""

from __future__ import annotations

import html
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

import gradio as gr
from fastapi import FastAPI

from serve.errors import ApiError
from serve.schemas import ModelCard

from .desk import Desk, Visitor
from .mounting import KEY_COOKIE
from .parts import Update, listen, notice, said, said_plainly, visitor_of
from .tabs import EDITING, FILLING, ChangeTab, GenerateTab

STYLE: Final = (Path(__file__).parent / "style.css").read_text()
_KEEP_KEY: Final = f"""(key) => {{
  if (key) document.cookie = "{KEY_COOKIE}=" + encodeURIComponent(key) + "; path=/; SameSite=Strict";
  return [""];
}}"""
"""Instead of sending the key with this event, the browser sends it with all that follow."""
_MOST_SESSIONS: Final = 64
"""Open pages whose last values Gradio remembers, for nothing that this page does."""
_HUE: Final = "teal"
_FONTS: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
_MONO: Final = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Quiet, and with the system's own fonts: nothing is loaded from elsewhere."""
    return gr.themes.Default(primary_hue=_HUE, secondary_hue=_HUE, neutral_hue="stone", font=_FONTS, font_mono=_MONO)


class Page:
    """Knows the components that all tabs share."""

    def __init__(self, desk: Desk, *, max_pixels: int) -> None:
        self._desk = desk
        with gr.Blocks(title="ladd_ray", analytics_enabled=False) as self.blocks:
            with gr.Row():
                self._heading = gr.HTML(_heading(""), padding=False, scale=3, min_width=280)
                self._model = gr.Dropdown(label="Model", visible=False, scale=1, min_width=180, elem_classes=["model"])
            self._notice = notice()
            with gr.Row(visible=False, equal_height=True) as self._entrance:
                self._key = gr.Textbox(label="Key", type="password", scale=4, min_width=200)
                enter = gr.Button("Go on", scale=1, min_width=100)
            with gr.Column(visible=False) as self._room:
                with gr.Tab("Generate"):
                    generate = GenerateTab(desk, self._model)
                with gr.Tab("Edit"):
                    edit = ChangeTab(desk, self._model, kind=EDITING, max_pixels=max_pixels)
                with gr.Tab("Inpaint"):
                    fill = ChangeTab(desk, self._model, kind=FILLING, max_pixels=max_pixels)
            self._tabs = (generate, edit, fill)
            self._listen(enter)
        # The endpoint lets in what it can draw, so the page does not queue on its own.
        self.blocks.queue(default_concurrency_limit=None)
        self.blocks.state_session_capacity = _MOST_SESSIONS

    def _listen(self, enter: gr.Button) -> None:
        adapted = [self._heading, *(component for tab in self._tabs for component in tab.adapts)]
        arrival = [self._notice, self._entrance, self._room, self._model, *adapted]
        come = [self.blocks.load, enter.click, self._key.submit]
        arrived = listen(come, self._arrive, [self._key], arrival, js=_KEEP_KEY)
        chosen = listen([self._model.input], self._choose, [self._model], [self._notice, *adapted])
        for event in (arrived, chosen):
            self._tabs[0].draft_after(event)

    async def _arrive(self, request: gr.Request, _: str) -> Sequence[Update]:
        visitor = visitor_of(request)
        try:
            cards = await self._desk.models(visitor)
        except ApiError as error:
            return [
                _turned_away(error, visitor),
                gr.update(visible=True),
                gr.update(visible=False),
                gr.skip(),
                *self._as_is,
            ]
        names = [card.id for card in cards]
        choice = gr.update(choices=names, value=names[0], visible=len(names) > 1)
        return [said(None), gr.update(visible=False), gr.update(visible=True), choice, *self._adapt(cards[0])]

    async def _choose(self, request: gr.Request, model: str) -> Sequence[Update]:
        try:
            card = await self._desk.model(model, visitor_of(request))
        except ApiError as error:
            return [said(error), *self._as_is]
        return [said(None), *self._adapt(card)]

    @property
    def _as_is(self) -> list[Update]:
        return [gr.skip()] * (1 + sum(len(tab.adapts) for tab in self._tabs))

    def _adapt(self, card: ModelCard) -> list[Update]:
        return [_heading(_about(card)), *(update for tab in self._tabs for update in tab.adapt(card))]


def _turned_away(error: ApiError, visitor: Visitor) -> Update:
    """Whoever comes without a key has done nothing wrong yet."""
    if error.refusal.status == HTTPStatus.UNAUTHORIZED and not visitor.key:
        return said_plainly("This endpoint asks for a key.")
    return said(error)


def _heading(about: str) -> str:
    return (
        f'<div id="heading"><h1>ladd_ray</h1><p>{html.escape(about)} '
        'The same as an API: <a href="docs" target="_blank">documentation</a>.</p></div>'
    )


def _about(card: ModelCard) -> str:
    steps = "1 step" if card.most_steps == 1 else f"1 to {card.most_steps} steps"
    return f"{card.id} draws in {steps}, {card.native_size} pixels by default."


def page_app(desk: Desk, *, max_pixels: int) -> FastAPI:
    """The page as an application of its own."""
    app: FastAPI = gr.mount_gradio_app(
        FastAPI(), Page(desk, max_pixels=max_pixels).blocks, path="/", theme=theme(), css=STYLE, footer_links=[],
        run_history=False, show_error=False, ssr_mode=False, enable_monitoring=False, mcp_server=False, pwa=False,
    )  # fmt: skip
    return app
