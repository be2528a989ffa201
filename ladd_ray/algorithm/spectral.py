"""Convolutions of bounded gain: spectral normalisation (Miyato et al. 2018) without state.

Shape legend: b batch, i o input and output channels, h w height and width, k kernel size.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

SQUARINGS = 4


class SpectralConv2d(nn.Conv2d):
    """A convolution that keeps height and width, its weight divided by its largest singular value."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """(b, i, h, w) -> (b, o, h, w)."""
        weight = self.weight / spectral_norm(rearrange(self.weight, "o i kh kw -> o (i kh kw)"))
        return functional.conv2d(hidden, weight, self.bias, padding=self.kernel_size[0] // 2)


def spectral_norm(weight: Tensor) -> Tensor:
    """Largest singular value of a matrix (o, i), slightly from below: sixteen steps of power iteration.

    torch's parametrization keeps its vectors in buffers that move with every forward; logits then depend on
    how many forwards came before, so on micro batches and on restarts. This is a function of the weight
    alone: four squarings of the Gram matrix stand for sixteen steps. The gradient takes the singular
    vectors as constants, as usual.
    """
    with torch.no_grad():
        power = weight @ weight.T
        for _ in range(SQUARINGS):
            power = power / torch.linalg.vector_norm(power)
            power = power @ power
        # The longest column cannot be orthogonal to the leading direction, as a fixed start could be.
        start = power.diagonal().argmax().view(1)
        left = functional.normalize(power.index_select(1, start)[:, 0], dim=0)
        right = functional.normalize(weight.T @ left, dim=0)
    return left @ weight @ right
