"""Latents to pictures, and pictures to files.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; c latent channels.
"""

import io
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ladd_ray.models.autoencoder import Autoencoder, to_uint8


@torch.no_grad()
def decode(autoencoder: Autoencoder, latents: Tensor, *, batch_size: int = 16) -> NDArray[np.uint8]:
    """Pictures (n, h, w, 3) uint8 of scaled latents (n, c, h/8, w/8), ``batch_size`` at a time."""
    pictures = [to_uint8(autoencoder.decode(batch)).cpu() for batch in torch.split(latents, batch_size)]
    return torch.cat(pictures).numpy()


def to_pil(images: NDArray[np.uint8]) -> list[Image.Image]:
    """Pillow images of an array (n, h, w, 3) uint8."""
    return [Image.fromarray(image) for image in images]


def to_png(image: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG file that appears whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(to_png(image))
    partial.replace(path)
