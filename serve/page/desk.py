"""What a visitor of the page asks for, and what is shown of it. Knows the API, and nothing of Gradio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from serve.schemas import ModelCard

from .client import ApiClient
from .newest import Newest
from .pictures import Source, source
from .snippets import Snippets, snippets

GENERATE: Final = "/v1/images/generations"
EDIT: Final = "/v1/images/edits"
_PREVIEWS: Final = 3
"""Of each picture, on its way."""
_PAUSE_S: Final = 0.25
"""Without a new letter, after which a draft is drawn."""


@dataclass(frozen=True)
class Visitor:
    """Who asks."""

    session: str
    """Of one open page."""
    key: str
    """Empty where none was entered."""
    address: str
    """Of the endpoint, as the visitor's browser calls it."""


@dataclass(frozen=True)
class Shown:
    """What is there of an answer."""

    pictures: tuple[str, ...]
    """Data URLs."""
    caption: str
    before: str | None = None
    """The picture that was changed."""
    snippets: Snippets | None = None


class Desk:
    """Serves all visitors. Everything may raise ``ApiError``."""

    def __init__(self, api: ApiClient, *, max_pixels: int, keyed: bool) -> None:
        """Take pictures up to so many pixels; ``keyed`` endpoints ask for a key, which the snippets then mention."""
        self._api, self._max_pixels, self._keyed = api, max_pixels, keyed
        self._newest: Newest[Shown] = Newest()

    async def models(self, visitor: Visitor) -> list[ModelCard]:
        """What is served."""
        return await self._api.models(key=visitor.key)

    async def model(self, name: str, visitor: Visitor) -> ModelCard:
        """One model."""
        return await self._api.model(name, key=visitor.key)

    async def source(self, url: str, model: str, visitor: Visitor) -> Source:
        """A picture made fit for a model."""
        card = await self.model(model, visitor)
        return await asyncio.to_thread(source, url, card, max_pixels=self._max_pixels)

    def draft(self, fields: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Shown, None]:
        """One picture in one step; nothing if the visitor types on meanwhile."""
        return self._newest.only(visitor.session, self._draft(fields, visitor))

    def generate(self, fields: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Shown, None]:
        """Pictures from words, as they become clearer."""
        return self._newest.only(visitor.session, self._generate(fields, visitor))

    def change(
        self, image: str, fields: Mapping[str, Any], visitor: Visitor, *, mask: str | None = None
    ) -> AsyncGenerator[Shown, None]:
        """The picture edited by instruction, or drawn anew where the mask is white. Both are data URLs."""
        return self._newest.only(visitor.session, self._change(image, fields, visitor, mask=mask))

    async def _change(
        self, image: str, fields: Mapping[str, Any], visitor: Visitor, *, mask: str | None
    ) -> AsyncGenerator[Shown, None]:
        fields = _known(fields, await self.model(fields["model"], visitor))
        files = {"image": "picture.png"}
        body: dict[str, Any] = {"images": [{"image_url": image}]}
        if mask is not None:
            files["mask"], body["mask"] = "mask.png", {"image_url": mask}
            fields["mask_polarity"] = "white"
        said = snippets(fields, address=visitor.address, files=files, keyed=self._keyed)
        async with aclosing(self._pictures(EDIT, {**fields, **body}, visitor)) as answers:
            async for shown in answers:
                yield replace(shown, before=image, snippets=said)

    async def _draft(self, fields: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Shown, None]:
        await asyncio.sleep(_PAUSE_S)
        if fields["prompt"].strip():
            async with aclosing(self._generate({**fields, "n": 1, "num_inference_steps": 1}, visitor)) as answers:
                async for shown in answers:
                    yield replace(shown, caption=f"draft · {shown.caption}")

    async def _generate(self, fields: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Shown, None]:
        fields = _known(fields, await self.model(fields["model"], visitor))
        said = snippets(fields, address=visitor.address, keyed=self._keyed)
        async with aclosing(self._pictures(GENERATE, fields, visitor)) as answers:
            async for shown in answers:
                yield replace(shown, snippets=said)

    async def _pictures(self, path: str, fields: Mapping[str, Any], visitor: Visitor) -> AsyncGenerator[Shown, None]:
        card = await self.model(fields["model"], visitor)
        began = time.monotonic()
        pictures: dict[int, str] = {}
        seeds: list[int] = []
        body = {**fields, "partial_images": _PREVIEWS}
        async with aclosing(self._api.events(path, body, key=visitor.key)) as events:
            async for event in events:
                pictures[event["index"]] = f"data:image/png;base64,{event['b64_json']}"
                seeds += [event["seed"]] if "seed" in event else []
                about = (event["size"], _steps(fields, card), f"{time.monotonic() - began:.2f} s")
                caption = " · ".join((*_seeds(seeds), *about, f"{card.id} {card.fingerprint}"))
                yield Shown(tuple(pictures[index] for index in sorted(pictures)), caption)


def _known(fields: Mapping[str, Any], card: ModelCard) -> dict[str, Any]:
    """Without what was left open, and without the strengths that a model does not have, whose sliders are hidden."""
    fixed = {name for name in ("text_guidance", "image_guidance") if getattr(card, name) is None}
    return {name: value for name, value in fields.items() if value is not None and name not in fixed}


def _seeds(seeds: list[int]) -> list[str]:
    """Of the pictures that are done, for people."""
    if not seeds:
        return ["drawing …"]
    return [f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {min(seeds)} to {max(seeds)}"]


def _steps(fields: Mapping[str, Any], card: ModelCard) -> str:
    steps = fields.get("num_inference_steps") or card.default_steps
    return "1 step" if steps == 1 else f"{steps} steps"
