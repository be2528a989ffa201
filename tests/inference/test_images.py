"""Latents to pictures to files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ladd_ray.inference.images import decode, save_png, to_pil, to_png
from ladd_ray.models.autoencoder import Autoencoder


def picture(colour=(200, 30, 40)):
    return Image.new("RGB", (5, 3), colour)


def test_png_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 7, 9, 3), dtype=np.uint8)
    (image,) = to_pil(pixels)
    save_png(image, tmp_path / "new" / "a.png")
    for source in (tmp_path / "new" / "a.png", io.BytesIO(to_png(image))):
        with Image.open(source) as loaded:
            assert loaded.format == "PNG"
            np.testing.assert_array_equal(np.asarray(loaded), pixels[0])


def test_a_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_png(picture(), path)
    before = path.read_bytes()

    def fail(self, target):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="no space"):
        save_png(picture((0, 0, 0)), path)
    assert path.read_bytes() == before


def test_decode_in_parts_equals_decode_at_once(tiny_folder):
    autoencoder = Autoencoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    latents = torch.randn(3, 16, 6, 10, generator=torch.Generator().manual_seed(0))
    parts, whole = (decode(autoencoder, latents, batch_size=size).astype(int) for size in (2, 3))
    assert parts.shape == (3, 48, 80, 3)
    assert abs(parts - whole).max() <= 1
