"""A position table that learns.

Stable Diffusion 3 adds a fixed sine table to its image tokens, stepped for pictures of many tokens. On the 4 x 4 tokens
of a small picture it is nearly constant (neighbours differ by 4 % of its length), and tokens hardly know where they
are. The learned table is stored where the fixed one was, so a stock folder carries it. [ours]
"""

from __future__ import annotations

from diffusers import SD3Transformer2DModel
from torch import nn


def learn_positions(transformer: SD3Transformer2DModel) -> SD3Transformer2DModel:
    """Makes the table of this transformer a weight, starting from what it holds; names of the state stay."""
    embedding = transformer.pos_embed
    table = embedding.pos_embed.detach().clone()
    del embedding.pos_embed
    embedding.register_parameter("pos_embed", nn.Parameter(table))
    return transformer
