"""Guidance strengths as numbers that a network can read. [ours]

The heads must know them too: a judge that cannot tell which strength a picture was drawn at is content with a student
that draws all of them alike.

Shape legend: b batch, p pooled width; a strength is a guidance scale, by text or by the source picture of an edit.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ladd_ray.interfaces import Condition

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
