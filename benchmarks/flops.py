"""Floating point operations of an MMDiT and of a LADD step, by formula.

F is one forward of one network for one image. A LADD step takes student forward and backward 3F, the frozen
features of the fake with the gradient of their input 2F, and of the real 1F.
"""

from __future__ import annotations

from typing import Final

REUSING_FORWARDS: Final = 6
"""Forwards of a step as we run it: the heads' turn takes the fake's features of the student's turn."""
SEPARATE_FORWARDS: Final = 8
"""Forwards where the two turns run on their own; the heads' turn makes its own fake and its features."""
RECOMPUTED_FORWARDS: Final = 2
"""What activation checkpointing adds: student and features once more."""

PIXELS_PER_TOKEN: Final = 16
"""An image token is a patch of 2 x 2 latents, a latent is 8 x 8 pixels."""


def transformer_flops(*, width: int, num_blocks: int, image_tokens: int, text_tokens: int) -> int:
    """Floating point operations of one forward for one image (SD3's MMDiT; embeddings, below 1 %, left out).

    Attention's and the MLP's matrices take 24 d^2 per token and block. The last block only reads keys and
    values from the text. Attention itself is joint: every token with every token.

    Args:
        width: hidden size d.
        num_blocks: joint blocks.
        image_tokens: patches of the image.
        text_tokens: tokens of the prompt.
    """
    image = 24 * width**2 * image_tokens * num_blocks
    text = 24 * width**2 * text_tokens * (num_blocks - 1) + 6 * width**2 * text_tokens
    attention = 4 * (image_tokens + text_tokens) ** 2 * width * num_blocks
    return image + text + attention


def num_image_tokens(pixels: int) -> int:
    """Image tokens of a square picture.

    Raises:
        ValueError: the side is not a multiple of 16 pixels.
    """
    side, rest = divmod(pixels, PIXELS_PER_TOKEN)
    if rest:
        raise ValueError(f"{pixels} pixels are no multiple of {PIXELS_PER_TOKEN}: choose a side that is")
    return side**2


def forwards_per_step(convention: int, *, recompute: bool) -> int:
    """Forwards F that a step counts as: those of ``convention`` (6 or 8), and of recomputation."""
    return convention + RECOMPUTED_FORWARDS * recompute
