"""What generating, editing and inpainting give the network: three ``prepare_*`` functions, one ``Given``.

Shape legend: b pictures, c latent channels, h w latent, H W picture; last axis of a picture red, green, blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm.tasks import edit_channels, inpaint_channels
from ladd_ray.models.autoencoder import Autoencoder

Picture = Image.Image | NDArray[np.uint8]
"""A Pillow image, or an array (H, W, 3)."""
Hole = Image.Image | NDArray[np.bool_] | NDArray[np.uint8]
"""White (over 127) or True where to draw: a Pillow image, or an array (H, W)."""


@dataclass(frozen=True, eq=False)
class Given:
    """What one batch starts from."""

    height: int
    """Of the pictures, in pixels."""
    width: int
    task_channels: Tensor | None = None
    """(b, 1 + c, h, w); None draws from the prompt alone."""
    pixels: NDArray[np.uint8] | None = None
    """(b, H, W, 3), what stays outside of the holes."""
    holes: NDArray[np.bool_] | None = None
    """(b, H, W), True where to draw."""

    def kept(self, drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The drawn pictures (b, H, W, 3) with every given pixel outside of the holes as it was."""
        if self.pixels is None or self.holes is None:
            return drawn
        return np.where(self.holes[..., None], drawn, self.pixels)


def prepare_generate(height: int, width: int) -> Given:
    """Nothing is given but the size."""
    return Given(height, width)


def prepare_edit(autoencoder: Autoencoder, images: Sequence[Picture]) -> Given:
    """The pictures to change.

    Raises:
        ValueError: they are not pictures, or not of one size.
    """
    pixels = _stacked(images)
    source = autoencoder.encode(_normalized(pixels)).float()
    height, width = pixels.shape[1:3]
    return Given(height, width, task_channels=edit_channels(source))


def prepare_inpaint(autoencoder: Autoencoder, images: Sequence[Picture], masks: Sequence[Hole]) -> Given:
    """Pictures with holes: the holes are mid grey before encoding, their mask on latents is that of the nearest pixel.

    Raises:
        ValueError: they are not pictures or masks, or not all of one size.
    """
    pixels, holes = _stacked(images), np.stack([_hole(mask) for mask in masks])
    if holes.shape != pixels.shape[:3]:
        raise ValueError(
            f"{len(holes)} masks of height and width {holes.shape[1:]} for {len(pixels)} pictures of "
            f"{pixels.shape[1:3]}: give one mask of the same size for each picture"
        )
    blanked = _normalized(pixels).masked_fill(torch.from_numpy(holes)[:, None], 0.0)
    step = autoencoder.downsampling
    mask = torch.from_numpy(holes[:, None, ::step, ::step].copy())
    channels = inpaint_channels(autoencoder.encode(blanked).float(), mask)
    height, width = holes.shape[1:]
    return Given(height, width, task_channels=channels, pixels=pixels, holes=holes)


def _stacked(images: Sequence[Picture]) -> NDArray[np.uint8]:
    pixels = [np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image) for image in images]
    shapes = sorted({picture.shape for picture in pixels})
    if len(shapes) != 1 or shapes[0][2:] != (3,) or any(picture.dtype != np.uint8 for picture in pixels):
        raise ValueError(
            f"pictures of shape {shapes} do not make a batch: give Pillow images or uint8 arrays (height, width, 3) of "
            "one size"
        )
    return np.stack(pixels)


def _hole(mask: Hole) -> NDArray[np.bool_]:
    values = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    if values.ndim != 2:
        raise ValueError(f"a mask of shape {values.shape} is no mask: give (height, width), white where to draw")
    return values if values.dtype == np.bool_ else values > 127


def _normalized(pixels: NDArray[np.uint8]) -> Tensor:
    """(b, 3, H, W) in [-1, 1]."""
    return rearrange(torch.from_numpy(pixels.copy()), "b h w c -> b c h w").float() / 127.5 - 1
