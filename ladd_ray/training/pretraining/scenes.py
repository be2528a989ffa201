"""Scenes of the embedded world as tensors. Shapes: b batch, h w pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ladd_ray.data import stickers


def random_scenes(count: int) -> tuple[Tensor, list[str]]:
    """Training scenes drawn with torch's global generator: images (b, 3, h, w) in [-1, 1], and captions."""
    indices = torch.randint(0, 2**40, (count,)).tolist()
    return numbered_scenes(indices)


def numbered_scenes(indices: list[int], *, split: stickers.Split = "train") -> tuple[Tensor, list[str]]:
    """The scenes with these numbers: images (b, 3, h, w) in [-1, 1], and captions."""
    scenes = [stickers.scene(0, index, split=split) for index in indices]
    pixels = torch.from_numpy(np.stack([stickers.render(scene) for scene in scenes]))
    images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(memory_format=torch.channels_last), [scene.caption for scene in scenes]
