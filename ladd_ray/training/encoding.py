"""Pictures and texts to what is stored of them: one autoencoder with its text towers, for all that make rows.

Shape legend: b rows of one size, c h w latent, H W picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.data.framing import Framed, frame
from ladd_ray.data.items import Item
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.data_sections import Size
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.prompt_encoder import PromptEncoder

logger = logging.getLogger(__name__)

Entry = TypeVar("Entry")


class FramedItem(NamedTuple):
    """An item with its pictures in their frame."""

    item: Item
    framed: Framed

    @property
    def size(self) -> Size:
        """Of its pictures, in pixels."""
        height, width, _ = self.framed.image.shape
        return height, width


def framed_items(items: Iterable[Item], sizes: Sequence[Size]) -> Iterator[FramedItem]:
    """The items whose pictures can be read; the others are left out with a warning."""
    for item in items:
        try:
            yield FramedItem(item, frame(item, sizes))
        except OSError as error:
            logger.warning("row %d (%.60s) is left out: %s", item.id, item.prompt, error)


def groups_of(entries: Iterable[Entry], *, key: Callable[[Entry], object], most: int) -> Iterator[list[Entry]]:
    """Batches of entries that share a key, in order, of ``most`` entries."""
    by_key: dict[object, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault(key(entry), []).append(entry)
    for group in by_key.values():
        yield from (group[start : start + most] for start in range(0, len(group), most))


class Encoder:
    """Autoencoder and text towers of a model."""

    def __init__(self, autoencoder: Autoencoder, prompts: PromptEncoder) -> None:
        self.autoencoder, self.prompts = autoencoder, prompts

    @torch.no_grad()
    def rows(self, group: Sequence[FramedItem]) -> list[TaskRow]:
        """Rows of real pictures of one size."""
        latents = self.autoencoder.encode(_pixels([entry.framed.image for entry in group]))
        given = [entry.framed for entry in group if entry.framed.gives_source]
        sources = iter(self.given_latents(given) if given else ())
        prompt = self.prompts.encode([entry.item.prompt for entry in group])
        return [
            TaskRow(
                id=item.id,
                heldout=item.heldout,
                task=item.task,
                prompt=item.prompt,
                real=True,
                latents=latents[index],
                prompt_embeds=prompt.prompt_embeds[index],
                pooled_prompt_embeds=prompt.pooled_prompt_embeds[index],
                source=next(sources) if framed.gives_source else None,
                mask=self._on_latents(framed.hole),
            )
            for index, (item, framed) in enumerate(group)
        ]

    @torch.no_grad()
    def given_latents(self, group: Sequence[Framed]) -> Tensor:
        """Latents (b, c, h, w) of what the network is given: the source, or the picture whose hole is mid grey."""
        pixels = _pixels([framed.image if framed.source is None else framed.source for framed in group])
        for row, framed in zip(pixels, group, strict=True):
            if framed.hole is not None:
                row[:, torch.from_numpy(framed.hole)] = 0.0
        return self.autoencoder.encode(pixels)

    def _on_latents(self, hole: NDArray[np.bool_] | None) -> Tensor | None:
        """(h, w) by the nearest pixel, as diffusers' inpainting pipeline does."""
        step = self.autoencoder.downsampling
        return None if hole is None else torch.from_numpy(hole[::step, ::step].copy())


def _pixels(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(b, 3, H, W) in [-1, 1]."""
    return rearrange(torch.from_numpy(np.stack(images)), "b h w c -> b c h w").float() / 127.5 - 1
