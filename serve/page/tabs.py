"""The three tabs of the page. Each knows its components, what they ask of the desk, and how a model changes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal

import gradio as gr
from gradio.events import Dependency

from serve.errors import ApiError, bad_request
from serve.schemas import ModelCard

from .components import Painting, easel, painting, tiles
from .desk import Desk, Shown, Visitor
from .examples import EDITS, FILLS, PROMPTS, Example
from .parts import (
    Update,
    change_result,
    gallery_result,
    listen,
    notice,
    pixelated,
    said,
    seed_row,
    showing,
    steps_of,
    strength_of,
    unchanged,
    visitor_of,
)
from .pictures import data_url

_TURBO: Final = 8
"""Steps up to which a model draws a fair picture in one."""

Updates = AsyncGenerator[Sequence[Update], None]


@dataclass(frozen=True)
class Kind:
    """Which of the two tabs with a given picture it is."""

    task: Literal["edit", "inpaint"]
    verb: str
    label: str
    """Of the words."""
    examples: Sequence[Example]

    @property
    def paints(self) -> bool:
        """Whether one paints over what is to change."""
        return self.task == "inpaint"


EDITING: Final = Kind("edit", "Edit", "What to change", EDITS)
FILLING: Final = Kind("inpaint", "Fill", "The whole picture, once filled", FILLS)


class GenerateTab:
    """Pictures from words."""

    def __init__(self, desk: Desk, model: gr.Dropdown) -> None:
        self._desk = desk
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                with gr.Group():
                    self._prompt = gr.Textbox(PROMPTS[0], label="Prompt", lines=2, max_lines=6, elem_id="prompt")
                    self._typing = gr.Checkbox(True, label="Draw while I type")
                    with gr.Row():
                        self._size = gr.Dropdown(label="Size", allow_custom_value=True, min_width=120)
                        self._number = gr.Slider(1, 10, value=1, step=1, label="Pictures", min_width=120)
                    self._steps = gr.Slider(1, 4, value=4, step=1, label="Steps")
                    self._text = gr.Slider(1, 2, visible=False, label="Strength of the prompt")
                    self._seed = seed_row()
                draw = gr.Button("Draw", variant="primary")
                chosen = tiles([(prompt, None) for prompt in PROMPTS])
            with gr.Column(scale=6, min_width=300, elem_classes=["stage"]):
                self._notice = notice()
                self._result = gallery_result()
        self._listen(draw, chosen, model)

    def _listen(self, draw: gr.Button, chosen: gr.HTML, model: gr.Dropdown) -> None:
        asked = [model, self._prompt, self._size, self._number, self._steps, self._text, self._seed]
        self._drafted = ([self._typing, *asked], [self._notice, *self._result.outputs])
        listen([draw.click, self._prompt.submit], self._generate, asked, self._drafted[1], busy=draw)
        listen([self._prompt.change, self._seed.change], self._draft, *self._drafted)
        listen([chosen.select], lambda index: PROMPTS[int(index)], [chosen], [self._prompt])

    def draft_after(self, event: Dependency) -> None:
        """Show something as soon as the page or a model has come."""
        event.then(
            self._draft,
            *self._drafted,
            preprocess=False,
            postprocess=False,
            show_progress="hidden",
            api_visibility="private",
        )

    @property
    def adapts(self) -> list[Any]:
        """The components that ``adapt`` is for."""
        return [self._size, self._steps, self._text, self._typing, self._result.pictures]

    def adapt(self, card: ModelCard) -> list[Update]:
        """Make it fit a model."""
        return [
            gr.update(choices=_sizes(card), value=card.native_size),
            steps_of(card),
            strength_of(card.text_guidance, card.default_text_guidance),
            card.most_steps <= _TURBO,
            gr.update(elem_classes=pixelated(card)),
        ]

    async def _generate(self, request: gr.Request, *values: Any) -> Updates:
        answers = self._desk.generate(_fields(*values), visitor_of(request))
        async for updates in showing(answers, self._result):
            yield updates

    async def _draft(self, request: gr.Request, typing: bool, *values: Any) -> Updates:
        model = values[0]
        if not typing or not model:
            yield unchanged(self._result)
            return
        async for updates in showing(self._desk.draft(_fields(*values), visitor_of(request)), self._result):
            yield updates


class ChangeTab:
    """A given picture: edited by instruction, or drawn anew where one paints."""

    def __init__(self, desk: Desk, model: gr.Dropdown, *, kind: Kind, max_pixels: int) -> None:
        self._desk, self._kind = desk, kind
        self._why = gr.Markdown(visible=False, elem_classes=["quiet"])
        with gr.Row() as self._form:
            with gr.Column(scale=5, min_width=300):
                self._easel = easel(paints=kind.paints, max_pixels=max_pixels)
                with gr.Group():
                    self._prompt = gr.Textbox(label=kind.label, lines=2, max_lines=6)
                    self._steps = gr.Slider(1, 4, value=4, step=1, label="Steps")
                    self._text = gr.Slider(1, 2, visible=False, label="Strength of the instruction")
                    self._image = gr.Slider(1, 2, visible=False, label="Strength of the picture")
                    self._seed = seed_row()
                draw = gr.Button(kind.verb, variant="primary")
                chosen = tiles([(example.prompt, data_url(example.image)) for example in kind.examples])
            with gr.Column(scale=6, min_width=300):
                self._notice = notice()
                self._result = change_result()
        self._listen(draw, chosen, model)

    def _listen(self, draw: gr.Button, chosen: gr.HTML, model: gr.Dropdown) -> None:
        strengths = [] if self._kind.paints else [self._text, self._image]
        asked = [model, self._easel, self._prompt, self._steps, self._seed, *strengths]
        shown = [self._notice, *self._result.outputs]
        listen([draw.click, self._prompt.submit], self._change, asked, shown, busy=draw)
        listen([self._easel.upload], self._came, [model, self._easel], [self._notice, self._easel])
        listen([chosen.select], self._take, [chosen], [self._easel, self._prompt])

    @property
    def adapts(self) -> list[Any]:
        """The components that ``adapt`` is for."""
        return [self._why, self._form, self._steps, self._text, self._image, self._result.pictures]

    def adapt(self, card: ModelCard) -> list[Update]:
        """Make it fit a model."""
        able = self._kind.task in card.tasks
        why = f"{card.id} only generates: choose or serve a student of three tasks."
        text, image = (None, None) if self._kind.paints else (card.text_guidance, card.image_guidance)
        return [
            gr.update(value=why, visible=not able),
            gr.update(visible=able),
            steps_of(card),
            strength_of(text, card.default_text_guidance),
            strength_of(image, card.default_image_guidance),
            gr.update(elem_classes=pixelated(card)),
        ]

    async def _came(self, request: gr.Request, model: str, held: str) -> Sequence[Update]:
        try:
            source = await self._desk.source(painting(held).image, model, visitor_of(request))
        except ApiError as error:
            return [said(error), ""]
        return [said(None), Painting(source.url, note=source.note).value()]

    def _take(self, index: str) -> Sequence[Update]:
        example = self._kind.examples[int(index)]
        return [Painting(data_url(example.image)).value(), example.prompt]

    async def _change(self, request: gr.Request, *values: Any) -> Updates:
        async for updates in showing(self._changed(visitor_of(request), *values), self._result):
            yield updates

    async def _changed(
        self, visitor: Visitor, model: str, held: str, prompt: str, steps: int, seed: int | None, *strengths: float
    ) -> AsyncGenerator[Shown, None]:
        given = painting(held)
        if self._kind.paints and given.mask is None:
            raise bad_request("paint over what is to change")
        fields = {"prompt": prompt, "model": model, "num_inference_steps": steps, "seed": seed}
        fields |= dict(zip(("text_guidance", "image_guidance"), strengths, strict=False))
        async with aclosing(self._desk.change(given.image, fields, visitor, mask=given.mask)) as answers:
            async for shown in answers:
                yield shown


def _fields(
    model: str, prompt: str, size: str, number: int, steps: int, text: float, seed: int | None
) -> dict[str, Any]:
    """Of a request to generate."""
    return {
        "prompt": prompt,
        "model": model,
        "n": number,
        "size": size,
        "num_inference_steps": steps,
        "text_guidance": text,
        "seed": seed,
    }


def _sizes(card: ModelCard) -> list[str]:
    """The model's own square, a wide and a tall picture; others can be typed."""
    side, step = int(card.native_size.partition("x")[0]), card.size_multiple
    long = min(step * round(1.5 * side / step), card.largest_side)
    return [card.native_size, f"{long}x{side}", f"{side}x{long}"]
