"""A network whose every row comes out the same, bit for bit, alone and in any batch.

For few rows libraries take other kernels, which add in another order. So linear layers are never given fewer rows than
``_LEAST``, and what is added is thrown away; convolutions are always oneDNN's, to which PyTorch does not give small
single pictures. Both get numbers that lie in one order, since of a single row PyTorch cannot always tell in which order
those of a batch would lie. Whether that is enough on this machine is tried out for every kind of layer, in
products of up to ``_MOST_ROWS``; larger ones, of large pictures or batches, are taken to be like these. Where it is not
enough, the layer takes one row at a time, which always is. Attention, norms and activations treat rows apart anyway.
[ours]

It costs nothing. Taking one row at a time would cost a third more in a batch of 16.

Shape legend: b batch, n tokens, i o input and output width of a layer, c channels, h w height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv2d

_LEAST: Final = 4
"""Rows of a product."""
_PICTURE_AXES: Final = 4
_TRIED_ROWS: Final = (*range(1, 48), 64, 84, 96, 128, 192, 256, 336, 399)
_MOST_ROWS: Final = 1024
"""Of the product that all others are compared with."""
_TRIED_PICTURES: Final = (1, 2, 3, 8, 15, 16)
_TRIED_SIDES: Final = (8, 32)
"""In pixels: pictures that are small for most layers, and pictures that are not."""


class PaddedLinear(nn.Linear):
    """A linear layer by one matrix product of all rows, never fewer than ``_LEAST``."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., i) -> (..., o)."""
        # Of tokens that do not lie side by side, as those of several rows cut off others, PyTorch adds the bias later;
        # and the pixels of a single picture, turned into tokens without a copy, are multiplied in another order.
        rows = hidden.reshape(-1, self.in_features).contiguous()
        missing = max(0, _LEAST - len(rows))
        outputs = super().forward(F.pad(rows, (0, 0, 0, missing)) if missing else rows)
        return outputs[: len(rows)].reshape(*hidden.shape[:-1], self.out_features)


class RowLinear(nn.Linear):
    """A linear layer by one matrix product for each row of the batch."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(b, i) -> (b, o), or (b, n, i) -> (b, n, o)."""
        rows = hidden.unsqueeze(1) if hidden.ndim == 2 else hidden
        weights = self.weight.t().expand(len(rows), -1, -1)
        bias = self._parameters["bias"]
        outputs = torch.bmm(rows, weights) if bias is None else torch.baddbmm(bias, rows, weights)
        return outputs.squeeze(1) if hidden.ndim == 2 else outputs


class OneDnnConv2d(nn.Conv2d):
    """A convolution by oneDNN, with the channels of every pixel side by side."""

    def forward(self, image: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, o, h', w')."""
        assert not isinstance(self.padding, str), "such convolutions are taken row by row"
        image = image.contiguous(memory_format=torch.channels_last)
        outputs: Tensor = torch.mkldnn_convolution(
            image, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )
        return outputs


class OrderedGroupNorm(nn.GroupNorm):
    """Normalizes numbers that lie in one order, that of convolutions where they are pictures."""

    def forward(self, image: Tensor) -> Tensor:
        """(b, c, ...) -> (b, c, ...)."""
        order = torch.channels_last if image.ndim == _PICTURE_AXES else torch.contiguous_format
        return super().forward(image.contiguous(memory_format=order))


class RowConv2d(nn.Conv2d):
    """A convolution called once for each row."""

    def forward(self, image: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, o, h', w')."""
        return torch.cat([super(RowConv2d, self).forward(row) for row in image.contiguous().split(1)])


def make_rows_independent(network: nn.Module) -> None:
    """Let every linear layer and convolution of a network compute its rows apart, over the same weights, in place.

    Holds on CPUs, for as many threads as there are now; a GPU's library chooses its kernels by the whole batch, also
    where rows are apart.
    """
    agreed: dict[str, bool] = {}
    for module in network.modules():
        # Only the class changes: a new module would part with whoever shares these parameters.
        if type(module) is nn.GroupNorm:
            module.__class__ = OrderedGroupNorm
        elif type(module) is nn.Linear:
            _settle(module, PaddedLinear, otherwise=RowLinear, agreed=agreed)
        elif type(module) is nn.Conv2d:
            _settle(module, OneDnnConv2d if _is_for_onednn(module) else RowConv2d, otherwise=RowConv2d, agreed=agreed)


def _settle(layer: Layer, kind: type[Layer], *, otherwise: type[Layer], agreed: dict[str, bool]) -> None:
    """Make a layer one of a kind, or the other one where rows of its kind and size do not agree."""
    layer.__class__ = kind
    key = repr(layer)
    if key not in agreed:
        agreed[key] = rows_agree(layer)
    if not agreed[key]:
        layer.__class__ = otherwise


def _is_for_onednn(layer: nn.Conv2d) -> bool:
    """Whether oneDNN is there and can do it; its weights are then put into the order that it reads."""
    if not torch.backends.mkldnn.is_available() or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return False
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return True


@torch.no_grad()
def rows_agree(layer: Layer) -> bool:
    """Whether a layer's rows are on this machine the same in large batches and in small ones."""
    weight = layer.weight
    generator = torch.Generator().manual_seed(0)
    shapes: Sequence[tuple[int, ...]]
    if isinstance(layer, nn.Linear):
        counts, most, shapes = _TRIED_ROWS, _MOST_ROWS, [(layer.in_features,)]
    else:
        counts, most = _TRIED_PICTURES, max(_TRIED_PICTURES) + 1
        shapes = [(layer.in_channels, side, side) for side in _TRIED_SIDES]
    batches = (torch.randn(most, *shape, generator=generator).to(weight) for shape in shapes)
    return all(_agree(layer, batch, counts) for batch in batches)


def _agree(layer: nn.Module, batch: Tensor, counts: Sequence[int]) -> bool:
    whole = layer(batch)
    return all(
        torch.equal(layer(batch[:count]), whole[:count]) and torch.equal(layer(batch[-count:]), whole[-count:])
        for count in counts
    )
