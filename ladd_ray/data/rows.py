"""Rows of one picture size as tensors: what a batch is made of, whether it was stored or has just been drawn.

Shape legend: n rows, c latent channels, h w latent, l prompt tokens, e embedding width, p pooled width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ladd_ray.algorithm.strengths import IdleKnobs
from ladd_ray.algorithm.tasks import inpaint_channels
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.interfaces import Condition, LatentBatch

Encode = Callable[[Sequence[str]], Condition]
"""Prompts to embeddings."""


class Wanted(NamedTuple):
    """What the networks of a run read beside latents and text."""

    three_tasks: bool = False
    """Task channels, which a text-to-image network has no input for."""
    knobs: IdleKnobs | None = None
    """Guidance strengths, which only a student with knobs reads, and what it is told where they have no effect."""
    encode: Encode | None = None
    """Encodes prompts whose embeddings are not stored."""


@dataclass(frozen=True)
class Rows:
    """Rows in half precision: 15 KB each in the embedded world, 3 MB at 512 px with T5."""

    latents: Tensor
    """(n, c, h, w)."""
    sources: Tensor | None
    """(n, c, h, w), 0 where a row has none; None for a network that only generates."""
    masks: Tensor | None
    """(n, 1, h, w) bool, True where to draw; None for a network that only generates."""
    prompt_embeds: Tensor | None
    """(n, l, e); None where prompts are encoded when their batch comes."""
    pooled_prompt_embeds: Tensor | None
    """(n, p)."""
    prompts: tuple[str, ...]
    """Empty where they are not needed."""
    strengths: Tensor
    """Guidance by text and by source that the teacher drew with (n, 2); 1 is none."""
    real: Tensor
    """(n,) bool, True where the latents are an encoded picture."""

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def of(cls, rows: Sequence[TaskRow]) -> Rows:
        """Rows that have just been made, as if they had been stored."""
        blank, everywhere = torch.zeros_like(rows[0].latents), torch.ones(rows[0].latents.shape[1:], dtype=torch.bool)
        embeds, pooled = ([getattr(row, name) for row in rows] for name in ("prompt_embeds", "pooled_prompt_embeds"))
        return cls(
            latents=_stored([row.latents for row in rows]),
            sources=_stored([blank if row.source is None else row.source for row in rows]),
            masks=torch.stack([everywhere if row.mask is None else row.mask.cpu() for row in rows])[:, None],
            prompt_embeds=None if embeds[0] is None else _stored(embeds),
            pooled_prompt_embeds=None if pooled[0] is None else _stored(pooled),
            prompts=tuple(row.prompt for row in rows),
            strengths=torch.tensor([[row.text_guidance, row.image_guidance] for row in rows]),
            real=torch.tensor([row.real for row in rows]),
        )

    def pick(self, rows: Tensor) -> Rows:
        """Some of them."""
        return Rows(
            latents=self.latents[rows],
            sources=_picked(self.sources, rows),
            masks=_picked(self.masks, rows),
            prompt_embeds=_picked(self.prompt_embeds, rows),
            pooled_prompt_embeds=_picked(self.pooled_prompt_embeds, rows),
            prompts=tuple(self.prompts[int(row)] for row in rows) if self.prompts else (),
            strengths=self.strengths[rows],
            real=self.real[rows],
        )

    def batch(self, sample_ids: tuple[int, ...], wanted: Wanted) -> LatentBatch:
        """All of them in fp32, with what the networks read."""
        condition = self._prompt(wanted.encode)
        if wanted.three_tasks:
            assert self.sources is not None and self.masks is not None, "rows were read without their tasks"
            condition = condition._replace(task_channels=inpaint_channels(self.sources, self.masks))
        if wanted.knobs is not None:
            led = condition._replace(strengths=self.strengths)
            condition = wanted.knobs.tell(led, real=self.real, sample_ids=sample_ids)
        return LatentBatch(
            latents=self.latents.float(),
            prompt=condition.to("cpu", torch.float32),
            sample_ids=sample_ids,
            real=self.real if bool(self.real.any()) else None,
        )

    def _prompt(self, encode: Encode | None) -> Condition:
        if self.prompt_embeds is not None and self.pooled_prompt_embeds is not None:
            return Condition(self.prompt_embeds, self.pooled_prompt_embeds)
        assert encode is not None, "these rows were stored without embeddings"
        # As if they had been stored, so that both ways train on the same numbers.
        return encode(self.prompts).to("cpu", torch.float16)


def on_device(batch: LatentBatch, device: torch.device | str) -> LatentBatch:
    """The same on a device."""
    real = None if batch.real is None else batch.real.to(device)
    return LatentBatch(batch.latents.to(device), batch.prompt.to(device), batch.sample_ids, real)


def _stored(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.detach().cpu().half() for tensor in tensors])


def _picked(tensor: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[rows]
