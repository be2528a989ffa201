"""Guidance strengths as numbers that a network can read. [ours]

The heads must know them too: a judge that cannot tell which strength a picture was drawn at is content with a student
that draws all of them alike.

Shape legend: b batch, p pooled width; a strength is a guidance scale, by text or by the source picture of an edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.tasks import EDIT, task_of
from ladd_ray.interfaces import Condition, LatentBatch

FREQUENCIES = (1.0, 2.0, 4.0, 8.0)
"""Of sine and cosine of log(1 + strength); a guidance from 1 to 8 spans 1.5 of it."""
NUM_FEATURES = 2 * (1 + 2 * len(FREQUENCIES))
"""Of a pair of strengths."""


def strength_features(strengths: Tensor) -> Tensor:
    """Smooth features (b, 18), fp32, of text and image guidance (b, 2): their logarithms, with sine and cosine."""
    logarithms = rearrange(torch.log1p(strengths.float()), "b knob -> b knob 1")
    angles = logarithms * logarithms.new_tensor(FREQUENCIES)
    features = torch.cat([logarithms, angles.sin(), angles.cos()], dim=-1)
    return rearrange(features, "b knob feature -> b (knob feature)")


def judged_prompt(prompt: Condition) -> Tensor:
    """What the heads are told: the pooled prompt (b, p), or (b, p + 18) where the student is told its strengths."""
    pooled = prompt.pooled_prompt_embeds
    if prompt.strengths is None:
        return pooled
    # Text towers differ in scale by orders of magnitude: the larger part would hide the other from the heads.
    normalised = functional.layer_norm(pooled, pooled.shape[-1:])
    return torch.cat([normalised, strength_features(prompt.strengths).to(pooled.dtype)], dim=1)


@dataclass(frozen=True)
class IdleKnobs:
    """What a student is told where a knob has no effect: any strength of its range.

    Nothing leads a real picture, and only an edit has a source to be led by. Told 1 for those, a student would know
    each task at strengths of its own; told any strength, it learns that they do not matter there, and one setting of
    the knobs suits all tasks, as a stock network needs.
    """

    text: tuple[float, float]
    """Smallest and largest guidance by text."""
    image: tuple[float, float]
    """Likewise by the source of an edit."""
    seed: int

    def tell(self, condition: Condition, *, real: Tensor, sample_ids: tuple[int, ...]) -> Condition:
        """The condition with such strengths in the place of those that did not lead its targets.

        Args:
            condition: with the strengths that its targets were drawn at (b, 2).
            real: targets that nobody drew (b,), bool.
            sample_ids: name the rows in the stream, which seed what they are told.
        """
        assert condition.strengths is not None, "targets come with the strengths that they were drawn at"
        idle = torch.stack([real, real | (task_of(condition) != EDIT)], dim=1)
        told = torch.stack([self._drawn("text", sample_ids), self._drawn("image", sample_ids)], dim=1)
        return condition._replace(strengths=torch.where(idle, told.to(condition.strengths), condition.strengths))

    def _drawn(self, knob: Literal["text", "image"], sample_ids: tuple[int, ...]) -> Tensor:
        low, high = self.text if knob == "text" else self.image
        share = noise.uniform(seed=self.seed, purpose=f"idle_{knob}_knob", sample_ids=sample_ids)
        return low + (high - low) * share


def leading_strengths(batch: LatentBatch, *, otherwise: Tensor) -> Tensor:
    """The strengths (b, 2) that led the targets, and ``otherwise`` (b, 2) where none did or none is told."""
    strengths = batch.prompt.strengths
    if strengths is None:
        return otherwise
    real = torch.zeros(len(strengths), dtype=torch.bool, device=strengths.device) if batch.real is None else batch.real
    led = torch.stack([~real, ~real & (task_of(batch.prompt) == EDIT)], dim=1)
    return torch.where(led, strengths, otherwise)
