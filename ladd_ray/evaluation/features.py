"""ImageNet features of pictures, from weights that install with pip and load offline.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; 1280 features.
"""

import numpy as np
import torch
from einops import rearrange, reduce
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ladd_ray.models.pixel_features import load_efficientnet

SIDE = 96
"""Side to which pictures are resized, in pixels. Small on purpose: about 10 ms a picture on one core."""


class EffNetLite0Features:
    """Pooled features of EfficientNet-Lite0 (Apache-2.0; arXiv 1905.11946 without squeeze-and-excitation).

    An independent judge of the training: it shares neither weights nor data with teacher and student. Only ADD may
    train against the same network (``add.features``); its scores are then no longer independent.
    """

    name = "EffNetLite0"
    """Names the feature network in every score."""

    def __init__(self, device: torch.device | str = "cpu", *, batch_size: int = 64) -> None:
        """Load the network.

        Raises:
            ModuleNotFoundError: the packages with network and weights are missing; says how to install them.
        """
        self._device = torch.device(device)
        self._batch_size = batch_size
        self._network = load_efficientnet().to(self._device)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        """Features (n, 1280), float32 on the CPU, of pictures (n, h, w, 3) uint8 of any one size.

        Raises:
            ValueError: the pictures are not (n, h, w, 3) uint8.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images are {images.dtype} {images.shape}: give uint8 (n, h, w, 3)")
        batches = torch.split(torch.from_numpy(np.ascontiguousarray(images)), self._batch_size)
        return torch.cat([self._features(batch) for batch in batches])

    def _features(self, images: Tensor) -> Tensor:
        pixels = rearrange(images.to(self._device, torch.float32), "n h w c -> n c h w")
        resized = F.interpolate(pixels, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        maps: Tensor = self._network.extract_features((resized - 127) / 128)
        return reduce(maps, "n d h w -> n d", "mean").cpu()
