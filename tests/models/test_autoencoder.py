from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from ladd_ray.models.autoencoder import Autoencoder, to_uint8

SCALE, SHIFT = 1.5, 0.06


@pytest.fixture(scope="module")
def vae(tiny_folder: Path) -> AutoencoderKL:
    """Scaled and shifted like Stable Diffusion 3's own."""
    vae = AutoencoderKL.from_pretrained(tiny_folder, subfolder="vae")
    vae.register_to_config(scaling_factor=SCALE, shift_factor=SHIFT)
    return vae


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_encode_scales_the_mode_of_the_posterior(vae: AutoencoderKL, images: torch.Tensor) -> None:
    autoencoder = Autoencoder(vae, device="cpu")
    latents = autoencoder.encode(images)
    assert latents.shape == (2, *autoencoder.latent_shape(32, 48)) == (2, 16, 4, 6)
    assert not latents.requires_grad
    expected = (vae.encode(images).latent_dist.mode() - SHIFT) * SCALE
    torch.testing.assert_close(latents, expected, rtol=0, atol=0)


def test_a_generator_draws_from_the_posterior(vae: AutoencoderKL, images: torch.Tensor) -> None:
    autoencoder = Autoencoder(vae, device="cpu")
    first, second, other = (
        autoencoder.encode(images, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, autoencoder.encode(images))


def test_decode_undoes_the_scale_as_the_stock_pipeline_does(vae: AutoencoderKL) -> None:
    latents = torch.randn(2, 16, 4, 6, generator=torch.Generator().manual_seed(0))
    decoded = Autoencoder(vae, device="cpu").decode(latents)
    torch.testing.assert_close(decoded, vae.decode(latents / SCALE + SHIFT).sample, rtol=0, atol=0)
    assert decoded.shape == (2, 3, 32, 48)


def test_gradients_reach_the_latents_and_not_the_weights(vae: AutoencoderKL) -> None:
    latents = torch.zeros(1, 16, 2, 2, requires_grad=True)
    Autoencoder(vae, device="cpu").decode(latents).square().mean().backward()
    assert latents.grad is not None and latents.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_loads_from_a_folder(tiny_folder: Path, images: torch.Tensor) -> None:
    autoencoder = Autoencoder.from_pretrained(tiny_folder, precision="bf16", device="cpu")
    assert autoencoder.downsampling == 8
    assert autoencoder.encode(images).dtype == torch.bfloat16


def test_bytes_cover_the_range_and_clamp() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).expand(1, 3, 1, 5)
    picture = to_uint8(values)
    assert picture.shape == (1, 1, 5, 3)
    assert picture[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_recomputed_activations_give_the_same_gradient(tiny_folder: Path) -> None:
    latents = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    gradients = []
    for recompute in (False, True):
        autoencoder = Autoencoder.from_pretrained(
            tiny_folder, precision="fp32", device="cpu", activation_checkpointing=recompute
        )
        leaf = latents.clone().requires_grad_()
        autoencoder.decode(leaf).square().mean().backward()
        gradients.append(leaf.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)
