"""Guidance knobs of a student: how strongly it follows text and source picture, as an input of the network.

Distillation at one guidance bakes it in: the students of LADD lose the teacher's two knobs (arXiv 2403.12015 leaves
that to future work). Here the student is told the strengths its target was drawn at, through the pooled prompt:

    pooled + e(text guidance, image guidance)        e = 0 at start

The layer that reads the pooled prompt is linear, W pooled + b, so that at fixed strengths its bias takes e over
exactly, b + W e, and a stock network draws the same. [ours]

Shape legend: b batch, p pooled width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.algorithm.strengths import NUM_FEATURES, strength_features

WIDTH = 256
"""Of the embedding's hidden layer."""


class Strengths(NamedTuple):
    """One setting of both knobs."""

    text: float
    image: float

    def rows(self, count: int, *, device: torch.device | str = "cpu") -> Tensor:
        """For every row of a batch (count, 2)."""
        return torch.tensor([self], dtype=torch.float32, device=device).expand(count, 2)


@dataclass(frozen=True)
class Knob:
    """What a student knows about one strength."""

    low: float
    """Least strength that it was trained at."""
    high: float
    default: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.default <= self.high:
            raise ValueError(f"the default {self.default:g} must lie within {self.low:g}..{self.high:g}, from 0 on")

    def pick(self, value: float | None, *, name: str) -> float:
        """The value asked for, or the default.

        Raises:
            ValueError: the student was not trained there.
        """
        if value is None:
            return self.default
        if not self.low <= value <= self.high:
            raise ValueError(
                f"{name} = {value:g} lies outside of {self.low:g}..{self.high:g}, where this model was trained"
            )
        return float(value)


NEUTRAL = 1.0
"""A guidance of 1 leads nowhere."""


@dataclass(frozen=True)
class Knobs:
    """Both knobs. One setting serves all tasks: where a knob has no effect, training has seen all of its strengths."""

    text: Knob
    image: Knob

    def pick(self, *, text: float | None = None, image: float | None = None) -> Strengths:
        """The strengths asked for, and the defaults elsewhere.

        Raises:
            ValueError: outside of the trained range.
        """
        return Strengths(self.text.pick(text, name="text_guidance"), self.image.pick(image, name="image_guidance"))


class StrengthEmbedding(nn.Module):
    """Strengths to an offset of the pooled prompt, zero before training.

    Args:
        pooled_size: p.
        knobs: ranges and defaults; rows that say nothing get the defaults.
    """

    def __init__(self, pooled_size: int, *, knobs: Knobs) -> None:
        super().__init__()
        self.knobs = knobs
        self.hidden = nn.Linear(NUM_FEATURES, WIDTH)
        self.output = nn.Linear(WIDTH, pooled_size)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, strengths: Tensor) -> Tensor:
        """(b, p) of text and image guidance (b, 2), in the precision of the weights."""
        features = strength_features(strengths).to(self.hidden.weight.dtype)
        offset: Tensor = self.output(functional.silu(self.hidden(features)))
        return offset


@torch.no_grad()
def fold_strengths(transformer: SD3Transformer2DModel, embedding: StrengthEmbedding, *, strengths: Strengths) -> None:
    """Let the transformer draw by itself what it draws with the embedding at these strengths; changes it in place."""
    entrance = transformer.time_text_embed.text_embedder.linear_1
    (offset,) = embedding(strengths.rows(1, device=embedding.hidden.weight.device)).double()
    entrance.bias.copy_(entrance.bias.double() + entrance.weight.double() @ offset.to(entrance.weight.device))
