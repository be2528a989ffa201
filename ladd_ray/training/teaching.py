"""Rows by a teacher: what it draws, and real pictures that it encodes.

Shape legend: b rows of one size, c h w latent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.tasks import edit_channels
from ladd_ray.config import Config
from ladd_ray.data.framing import Framed
from ladd_ray.data.items import Item
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.data.training_rows import numbered_rows, reader_settings, size_of
from ladd_ray.data_sections import Range, Size, TaskDataConfig
from ladd_ray.interfaces import Condition
from ladd_ray.training.encoding import Encoder, FramedItem, framed_items, groups_of
from ladd_ray.training.sampler import Sampler, teacher_shift, worker_device


class Order(NamedTuple):
    """A row to make."""

    item: Item
    size: Size
    framed: Framed | None
    """Its pictures, where it has any."""
    how: Literal["draw", "edit", "encode"]
    """Rows that are made alike share a batch; an edit takes more terms of guidance than a prompt."""


class Teacher:
    """Makes the rows of a training set; one per worker. A row follows from its item and the configuration alone."""

    def __init__(self, config: Config) -> None:
        torch.set_num_threads(config.run.threads_per_worker)
        self._data, self._shift = config.data, teacher_shift(config)
        self._sampler = Sampler(
            config.teacher.path, precision=config.teacher.precision, device=worker_device(config.run.device)
        )
        self._encoder = Encoder(self._sampler.autoencoder, self._sampler.encoder)

    def empty_prompt(self) -> Condition:
        """The embeddings of no text, one row."""
        return self._sampler.encoder.encode([""])

    def rows(self, items: Sequence[Item]) -> list[TaskRow]:
        """Their rows by size and task, as they are stored; pictures that cannot be read are left out."""
        settings = reader_settings(self._data)
        made = self._made(self._orders(items, settings))
        if self._data.store_prompt_embeds:
            return list(made)
        return [replace(row, prompt_embeds=None, pooled_prompt_embeds=None) for row in made]

    def numbered(self, numbers: range, *, size: Size) -> list[TaskRow]:
        """Rows of one picture size by their numbers in an endless stream, in order."""
        settings = reader_settings(self._data, size=size)
        items = list(numbered_rows(self._data, numbers.start, count=len(numbers)).items(settings))
        return sorted(self._made(self._orders(items, settings)), key=lambda row: row.id)

    def _orders(self, items: Sequence[Item], settings: TaskDataConfig) -> Iterator[Order]:
        yield from (Order(item, size_of(item, settings), None, "draw") for item in items if not item.image)
        yield from map(self._order, framed_items((item for item in items if item.image), settings.buckets))

    def _order(self, entry: FramedItem) -> Order:
        drawn = entry.item.task == "edit" and self._data.origin == "synthetic"
        return Order(entry.item, entry.size, entry.framed, "edit" if drawn else "encode")

    def _made(self, orders: Iterable[Order]) -> Iterator[TaskRow]:
        most = self._data.synthesis_batch_size
        for group in groups_of(orders, key=lambda order: (order.how, order.size), most=most):
            if group[0].how == "encode":
                yield from self._encoder.rows([FramedItem(order.item, _pictures(order)) for order in group])
            else:
                yield from self._drawn(group)

    @torch.no_grad()
    def _drawn(self, orders: Sequence[Order]) -> Iterator[TaskRow]:
        items = [order.item for order in orders]
        prompt = self._sampler.encoder.encode([item.prompt for item in items])
        text = self._strengths("text_guidance", self._data.text_guidance, items)
        image, source = torch.ones_like(text), None
        if orders[0].how == "edit":
            source = self._encoder.given_latents([_pictures(order) for order in orders]).float()
            image = self._strengths("image_guidance", self._data.image_guidance, items)
        latents = self._latents(prompt, source, text=text, image=image, orders=orders)
        for index, item in enumerate(items):
            yield TaskRow(
                id=item.id,
                heldout=item.heldout,
                task=item.task,
                prompt=item.prompt,
                real=False,
                latents=latents[index],
                prompt_embeds=prompt.prompt_embeds[index],
                pooled_prompt_embeds=prompt.pooled_prompt_embeds[index],
                source=None if source is None else source[index],
                text_guidance=float(text[index]),
                image_guidance=float(image[index]),
            )

    def _latents(
        self, prompt: Condition, source: Tensor | None, *, text: Tensor, image: Tensor, orders: Sequence[Order]
    ) -> Tensor:
        height, width = orders[0].size
        return self._sampler.teacher(
            prompt if source is None else prompt._replace(task_channels=edit_channels(source)),
            [order.item.id for order in orders],
            height=height,
            width=width,
            num_inference_steps=self._data.num_inference_steps,
            guidance_scale=text,
            image_guidance_scale=image,
            shift=self._shift,
            seed=self._data.seed,
        )

    def _strengths(self, purpose: str, bounds: Range, items: Sequence[Item]) -> Tensor:
        """(b,), on the CPU."""
        low, high = bounds
        share = noise.uniform(seed=self._data.seed, purpose=purpose, sample_ids=[item.id for item in items])
        return low + (high - low) * share


def _pictures(order: Order) -> Framed:
    assert order.framed is not None, "a row without pictures can only be drawn"
    return order.framed
