"""What can go wrong with a picture, at random, for training a reader: blur, noise, lost detail, crooked lines, nothing.

Shapes: b batch, h w pixels, multiples of 8.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

BLOCK = 8
"""Side of the blocks whose fine detail is lost, in pixels: JPEG's, and one latent of the autoencoder."""


def soften(images: Tensor) -> Tensor:
    """Blur a quarter of the images (b, 3, h, w), resize a quarter, drop fine detail in a quarter; keep the rest."""
    softened = images.clone()
    way = torch.randint(4, (len(images),))
    for number, change in enumerate((_blurred, _resized, _coarse)):
        chosen = way == number
        if chosen.any():
            softened[chosen] = change(images[chosen])
    return softened


def recolour(images: Tensor) -> Tensor:
    """Shift brightness, contrast and each colour a little, add noise to two in three, and clamp to [-1, 1]."""
    each = (len(images), 1, 1, 1)
    contrast = 1 + 0.1 * (2 * torch.rand(each) - 1)
    shift = 0.06 * torch.randn(each) + 0.04 * torch.randn(len(images), 3, 1, 1)
    noise = 0.15 * (1.5 * torch.rand(each) - 0.5).clamp(min=0)
    return (contrast * images + shift + noise * torch.randn_like(images)).clamp(-1, 1)


def crumple(images: Tensor, *, pixels: Tensor) -> Tensor:
    """Displace every place of the images (b, 3, h, w) smoothly, by a deviation of so many pixels (b,)."""
    height, width = images.shape[2:]
    smooth = _smooth_noise(len(images), 2, height=height, width=width)
    displacement = rearrange(pixels[:, None, None, None] * smooth, "b two h w -> b h w two")
    unmoved = F.affine_grid(torch.eye(2, 3).expand(len(images), -1, -1), list(images.shape), align_corners=False)
    # Two is the length of a side in the grid's coordinates.
    grid = unmoved + displacement * 2 / torch.tensor([width, height])
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def fields(count: int, *, height: int, width: int) -> Tensor:
    """Pictures (b, 3, h, w) in [-1, 1] that were never drawn: any colour, clouds over half, noise over half."""
    each = (count, 1, 1, 1)
    colour = 2 * torch.rand(count, 3, 1, 1) - 1
    clouds = (2 * torch.rand(each) - 1).clamp(min=0) * _smooth_noise(count, 3, height=height, width=width)
    noise = (2 * torch.rand(each) - 1).clamp(min=0) * torch.randn(count, 3, height, width)
    return (colour + clouds + noise).clamp(-1, 1)


def _smooth_noise(count: int, channels: int, *, height: int, width: int) -> Tensor:
    """Noise (b, c, h, w) of deviation about 1 that changes from block to block."""
    coarse = torch.randn(count, channels, height // BLOCK, width // BLOCK)
    return F.interpolate(coarse, (height, width), mode="bicubic")


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _blurred(images: Tensor) -> Tensor:
    """By a Gaussian with a deviation of 0.4 to 1.1 pixels."""
    taps = torch.exp(-0.5 * (torch.arange(-3, 4) / _uniform(0.4, 1.1)) ** 2)
    kernel = (taps[:, None] * taps / taps.sum() ** 2).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(images, (3, 3, 3, 3), mode="replicate"), kernel, groups=3)


def _resized(images: Tensor) -> Tensor:
    """Made smaller, to 55 to 90 percent, and large again."""
    height, width = images.shape[2:]
    factor = _uniform(0.55, 0.9)
    small = F.interpolate(images, (round(factor * height), round(factor * width)), mode="bilinear", antialias=True)
    return F.interpolate(small, (height, width), mode="bilinear")


def _coarse(images: Tensor) -> Tensor:
    """Only the 3 to 6 lowest frequencies along each axis of a block, as JPEG and latents keep them."""
    kept = int(torch.randint(3, 7, ()))
    basis = _cosines()[:kept]
    blocks = rearrange(images, "b c (y i) (x j) -> b c y x i j", i=BLOCK, j=BLOCK)
    low = basis.T @ (basis @ blocks @ basis.T) @ basis
    return rearrange(low, "b c y x i j -> b c (y i) (x j)")


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The orthonormal cosine transform (frequencies, pixels) of a block."""
    pixels, frequencies = torch.arange(BLOCK) + 0.5, torch.arange(BLOCK)[:, None]
    rows = torch.cos(math.pi / BLOCK * pixels * frequencies) * math.sqrt(2 / BLOCK)
    rows[0] /= math.sqrt(2)
    return rows
