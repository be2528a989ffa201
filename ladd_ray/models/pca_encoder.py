"""An encoder that needs no training: the principal components of 8 x 8 pixel patches, in AutoencoderKL's own layers.

Trained jointly from nothing, the small autoencoder stays far below what linear projection onto 16 components keeps.
So the encoder is set to that projection, level by level (2 x 2, 4 x 4, 8 x 8 pixels), and only the decoder learns.
[ours]

The layers are made linear: residual branches answer zero, strided convolutions project, and the last normalisation
is held still by constant channels while ``silu(x) - silu(-x) = x`` undoes the activation.

Shape legend: b images, h w pixels, n patches, k components.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

WHITENING = 0.5
"""Components are divided by their deviation to this power: 0 leaves the fine ones faint, 1 makes them as loud."""
LOG_VARIANCE = -6.0
"""Of the posterior, everywhere: a deviation of 0.05 beside latents of deviation 1."""
FAINT = 0.03
"""Deviation of the signal beside constant channels of 1, so that the group norm hardly sees it."""


@torch.no_grad()
def set_pca_encoder(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Make the encoder the projection onto the principal components of these images (b, 3, h, w) in [-1, 1]."""
    encoder = autoencoder.encoder
    silence_residuals(encoder)
    _set_channels(encoder.conv_in, torch.eye(3))
    signal, channels = images.float(), 3
    for block in encoder.down_blocks[:-1]:
        _widen(block.resnets[0], channels)
        projection = _principal(_fold(signal), keep=block.downsamplers[0].conv.out_channels)
        _set_strided(block.downsamplers[0].conv, projection)
        signal, channels = _project(signal, projection), len(projection)
    latent_channels = autoencoder.config.latent_channels
    components, offset = _latent_components(signal, keep=latent_channels)
    _set_pairs(encoder.down_blocks[-1].resnets[0], components, offset, groups=encoder.conv_norm_out.num_groups)
    _set_reader(encoder.conv_out, latent_channels, groups=encoder.conv_norm_out.num_groups)


def silence_residuals(module: nn.Module) -> None:
    """Residual and attention branches begin with zero, so that only the shortcuts carry."""
    for name, layer in module.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def _fold(signal: Tensor) -> Tensor:
    return rearrange(signal, "b c (h y) (w x) -> (b h w) (y x c)", y=2, x=2)


def _principal(rows: Tensor, *, keep: int) -> Tensor:
    """Up to ``keep`` orthonormal directions (k, c) of rows (n, c); the mean stays in them."""
    centred = rows - rows.mean(dim=0)
    directions: Tensor = torch.linalg.eigh(centred.T @ centred).eigenvectors
    return directions.flip(1).T[:keep]


def _project(signal: Tensor, projection: Tensor) -> Tensor:
    rows = _fold(signal) @ projection.T
    return rearrange(rows, "(b h w) k -> b k h w", b=len(signal), h=signal.shape[2] // 2)


def _latent_components(signal: Tensor, *, keep: int) -> tuple[Tensor, Tensor]:
    """Directions (k, c) and offset (k,) of latents with mean 0 and, all together, deviation 1."""
    rows = rearrange(signal, "b c h w -> (b h w) c")
    directions = _principal(rows, keep=keep)
    deviation = (rows @ directions.T).std(dim=0)
    directions = directions / deviation.pow(WHITENING)[:, None]
    directions = directions / (rows @ directions.T).std(dim=0).square().mean().sqrt()
    return directions, -(rows @ directions.T).mean(dim=0)


def _set_channels(conv: nn.Conv2d, matrix: Tensor) -> None:
    """A convolution that maps the first channels by ``matrix`` (out, in) and ignores its neighbours."""
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.get_parameter("bias"))
    centre = conv.kernel_size[0] // 2
    conv.weight[: matrix.shape[0], : matrix.shape[1], centre, centre] = matrix


def _widen(resnet: ResnetBlock2D, channels: int) -> None:
    if resnet.conv_shortcut is not None:
        _set_channels(resnet.conv_shortcut, torch.eye(channels))


def _set_strided(conv: nn.Conv2d, projection: Tensor) -> None:
    """Stride 2 with padding behind: the first two taps are the patch."""
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.get_parameter("bias"))
    taps = rearrange(projection, "k (y x c) -> k c y x", y=2, x=2)
    conv.weight[: taps.shape[0], : taps.shape[1], :2, :2] = taps


def _pair_channels(latent: int, *, groups: int, channels: int) -> tuple[int, int]:
    """Where +x and -x of a latent channel lie; the first two channels of each group are constants."""
    width = channels // groups
    group, place = latent % groups, latent // groups
    first = group * width + 2 + 2 * place
    assert first + 1 < (group + 1) * width, "the last encoder block is too narrow for its latents"
    return first, first + 1


def _set_pairs(resnet: ResnetBlock2D, components: Tensor, offset: Tensor, *, groups: int) -> None:
    conv: nn.Conv2d = resnet.conv_shortcut
    channels, bias = conv.out_channels, conv.get_parameter("bias")
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(bias)
    for latent, (direction, shift) in enumerate(zip(components, offset, strict=True)):
        for sign, channel in zip((1, -1), _pair_channels(latent, groups=groups, channels=channels), strict=True):
            conv.weight[channel, : len(direction), 0, 0] = sign * FAINT * direction
            bias[channel] = sign * FAINT * shift
    bias[:: channels // groups] = 1.0
    bias[1 :: channels // groups] = -1.0


def _set_reader(conv: nn.Conv2d, latent_channels: int, *, groups: int) -> None:
    """Mean from the pairs, after the norm divided them by the constants' deviation; log variance from the bias."""
    channels = conv.in_channels
    deviation = (2 * groups / channels) ** 0.5
    matrix = torch.zeros(2 * latent_channels, channels)
    for latent in range(latent_channels):
        plus, minus = _pair_channels(latent, groups=groups, channels=channels)
        matrix[latent, plus], matrix[latent, minus] = deviation / FAINT, -deviation / FAINT
    _set_channels(conv, matrix)
    conv.get_parameter("bias")[latent_channels:] = LOG_VARIANCE
