"""Scenes of the embedded world as tensors. Shapes: b batch, h w pixels."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.data import stickers


def random_scenes(count: int) -> tuple[Tensor, list[str]]:
    """Training scenes drawn with torch's global generator: images (b, 3, h, w) in [-1, 1], and captions."""
    indices = torch.randint(0, 2**40, (count,)).tolist()
    return numbered_scenes(indices)


def numbered_scenes(indices: list[int], *, split: stickers.Split = "train") -> tuple[Tensor, list[str]]:
    """The scenes with these numbers: images (b, 3, h, w) in [-1, 1], and captions."""
    scenes = [stickers.scene(0, index, split=split) for index in indices]
    return to_images(np.stack([stickers.render(scene) for scene in scenes])), [scene.caption for scene in scenes]


def to_images(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures (b, h, w, 3) of bytes as images (b, 3, h, w) in [-1, 1]."""
    images = rearrange(torch.from_numpy(pixels), "b h w c -> b c h w").float() / 127.5 - 1
    return images.contiguous(memory_format=torch.channels_last)
