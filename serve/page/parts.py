"""Pieces of the page that several tabs have: a seed with a dice, a result, and what is said where something fails."""

from __future__ import annotations

import html
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final

import gradio as gr
from gradio.events import Dependency

from serve.errors import ApiError
from serve.schemas import LARGEST_SEED, ModelCard

from .components import file_of
from .desk import Shown, Visitor
from .mounting import key_of

Update = Any
"""What Gradio makes of a component's new state: its functions take values, and dicts."""
_SEEDS_BY_CHANCE: Final = 100_000
"""Few enough that a person can read one aloud."""
_SMALL: Final = 256
"""Sides in pixels below which a picture is enlarged to be seen."""
_HEIGHT: Final = 460


def visitor_of(request: gr.Request) -> Visitor:
    """Who sent an event."""
    http = request.request
    assert http is not None, "events come over HTTP"
    address = f"{http.url.scheme}://{http.url.netloc}{http.scope.get('root_path', '')}"
    return Visitor(request.session_hash or "", key_of(http.scope), address)


def listen(
    triggers: list[Any],
    answer: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    *,
    busy: Any = None,
    js: str | None = None,
) -> Dependency:
    """Have events answered, with values as they come and go.

    A ``busy`` button shows that it takes a while; ``js`` runs before, and gives the values that are sent.
    """
    answered: Dependency = gr.on(
        triggers,
        answer,
        inputs,
        outputs,
        preprocess=False,
        postprocess=False,
        show_progress="hidden" if busy is None else "minimal",
        show_progress_on=busy,
        scroll_to_output=busy is not None,
        trigger_mode="multiple",
        js=js,
        api_visibility="private",
    )
    return answered


def notice() -> gr.HTML:
    """Where errors are said."""
    return gr.HTML(visible=False, padding=False)


def said(error: ApiError | None) -> Update:
    """The notice of an error; none without."""
    if error is None:
        return gr.update(value="", visible=False)
    refusal = error.refusal
    text = refusal.message
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        text = "This endpoint asks for a key, and does not know this one."
    elif refusal.param and refusal.param not in text:
        text = f"{refusal.param}: {text}"
    return said_plainly(text)


def said_plainly(text: str) -> Update:
    """A notice of these words."""
    return gr.update(value=f'<div class="notice" role="alert">{html.escape(text)}</div>', visible=True)


def pixelated(card: ModelCard) -> list[str]:
    """Style classes of a picture by this model."""
    return ["result", "pixelated"] if int(card.native_size.partition("x")[0]) < _SMALL else ["result"]


def seed_row() -> gr.Number:
    """A seed, and a dice that throws another."""
    with gr.Row(equal_height=True):
        seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, scale=4, min_width=120)
        dice = gr.Button("⚄", elem_classes=["dice"], scale=0)
    listen([dice.click], lambda: secrets.randbelow(_SEEDS_BY_CHANCE), [], [seed])
    return seed


def steps_of(card: ModelCard) -> Update:
    """The steps slider for a model."""
    return gr.update(maximum=card.most_steps, value=card.default_steps, visible=card.most_steps > 1)


def strength_of(bounds: tuple[float, float] | None, default: float | None) -> Update:
    """A strength slider for a model; none where distillation fixed it."""
    if bounds is None:
        return gr.update(visible=False)
    low, high = bounds
    return gr.update(minimum=low, maximum=high, value=default, step=0.1, visible=True)


class Result:
    """Pictures, what there is to know of them, and their request for other clients."""

    def __init__(self, pictures: gr.Gallery | gr.ImageSlider) -> None:
        self.pictures = pictures
        self._caption = gr.Markdown("", elem_classes=["quiet"])
        with gr.Accordion("This request as curl and Python", open=False, visible=False) as self._fold:
            with gr.Tab("curl"):
                self._curl = gr.Code(language="shell", interactive=False, show_label=False, lines=1, wrap_lines=True)
            with gr.Tab("Python"):
                self._python = gr.Code(language="python", interactive=False, show_label=False, lines=1, wrap_lines=True)

    @property
    def outputs(self) -> list[Any]:
        """The components that ``updates`` are for."""
        return [self.pictures, self._caption, self._fold, self._curl, self._python]

    def updates(self, shown: Shown | None) -> list[Update]:
        """What to show; nothing changes without."""
        if shown is None:
            return [gr.skip()] * len(self.outputs)
        if shown.snippets is None:
            return [self._drawn(shown), shown.caption, *[gr.skip()] * 3]
        return [self._drawn(shown), shown.caption, gr.update(visible=True), shown.snippets.curl, shown.snippets.python]

    def _drawn(self, shown: Shown) -> Update:
        if shown.before is not None:
            return [file_of(shown.before), file_of(shown.pictures[0])]
        count = len(shown.pictures)
        value = [{"image": file_of(url), "caption": None} for url in shown.pictures]
        return gr.update(value=value, columns=1 if count == 1 else 2 if count <= 4 else 3)


def gallery_result() -> Result:
    """Of pictures from words."""
    return Result(
        gr.Gallery(
            label="Result", show_label=False, object_fit="contain", height="auto", interactive=False,
            buttons=["download", "fullscreen"], elem_classes=["result"],
        )
    )  # fmt: skip


def change_result() -> Result:
    """Of a changed picture."""
    return Result(
        gr.ImageSlider(
            label="Before and after", show_label=False, height=_HEIGHT, interactive=False,
            buttons=["download", "fullscreen"], elem_classes=["result"],
        )
    )  # fmt: skip


def unchanged(result: Result) -> Sequence[Update]:
    """Updates of a notice and of a result's outputs that change nothing."""
    return [gr.skip(), *result.updates(None)]


async def showing(answers: AsyncGenerator[Shown, None], result: Result) -> AsyncGenerator[Sequence[Update], None]:
    """Updates of a notice and of a result's outputs, as answers come; an error becomes the notice."""
    # Where no answer comes, since something newer was asked for, Gradio would empty everything.
    yield unchanged(result)
    try:
        async with aclosing(answers) as following:
            async for shown in following:
                yield [said(None), *result.updates(shown)]
    except ApiError as error:
        yield [said(error), *result.updates(None)]
