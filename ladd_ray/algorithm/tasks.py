"""Three tasks as data: extra input channels that say what is given and where to draw.

Beside the noisy latents a three-task network reads a mask (1 where the picture is to be drawn) and the latents of a
source picture, in the order of diffusers' inpainting pipeline for Stable Diffusion 3. [ours; the paper's editing and
inpainting models concatenate the source, and mask, along the channels too]

    generate    mask 1, source 0
    edit        mask 1, source = the picture
    inpaint     mask 1 in the hole, source = the picture with its hole blanked before encoding

Shape legend: b batch, c latent channels, h w latent height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ladd_ray.interfaces import Condition

TASKS = ("generate", "edit", "inpaint")
GENERATE, EDIT, INPAINT = range(3)
"""Places in ``TASKS``."""


def generate_channels(latents: Tensor) -> Tensor:
    """Task channels (b, 1 + c, h, w) of drawing from the prompt alone, for latents (b, c, h, w) of that shape."""
    return edit_channels(torch.zeros_like(latents))


def edit_channels(source: Tensor) -> Tensor:
    """Task channels (b, 1 + c, h, w) of changing a picture, given its latents (b, c, h, w)."""
    return inpaint_channels(source, torch.ones_like(source[:, :1]))


def inpaint_channels(blanked_source: Tensor, mask: Tensor) -> Tensor:
    """Task channels (b, 1 + c, h, w) of filling a hole.

    Args:
        blanked_source: latents (b, c, h, w) of the picture whose hole was blanked.
        mask: (b, 1, h, w), 1 in the hole and 0 where the picture stays.
    """
    return torch.cat([mask.to(blanked_source), blanked_source], dim=1)


def without_source(condition: Condition) -> Condition:
    """The same prompts with nothing given: what image guidance leads away from."""
    if condition.task_channels is None:
        return condition
    return condition._replace(task_channels=generate_channels(condition.task_channels[:, 1:]))


def task_of(condition: Condition) -> Tensor:
    """The place in ``TASKS`` of every row's task (b,), int64, read from its channels."""
    channels = condition.task_channels
    if channels is None:
        return torch.full((len(condition.prompt_embeds),), GENERATE, device=condition.prompt_embeds.device)
    has_hole = (channels[:, :1] < 1).flatten(1).any(dim=1)
    has_source = (channels[:, 1:] != 0).flatten(1).any(dim=1)
    return torch.where(has_hole, INPAINT, torch.where(has_source, EDIT, GENERATE))
