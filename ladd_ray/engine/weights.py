"""What an engine may do to the weights of a module without knowing the module.

Under ZeRO-3 a parameter is empty between forwards and this rank's share of it, a padded flat piece, is its
``ds_tensor``. A *local weight* is that piece, or the whole parameter where nothing is sharded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen_weights(module: nn.Module) -> Iterator[nn.Module]:
    """``module`` with ``requires_grad`` off: gradients pass through it and none stay in it."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield module
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def local_weights(module: nn.Module) -> dict[str, Tensor]:
    """Local weights by name; they share memory with the module."""
    return {name: getattr(weight, "ds_tensor", weight).detach() for name, weight in module.named_parameters()}


def trainable_weights(module: nn.Module) -> dict[str, Tensor]:
    """The local weights that require gradients now."""
    frozen = frozen_names(module)
    return {name: weight for name, weight in local_weights(module).items() if name not in frozen}


def frozen_names(module: nn.Module) -> set[str]:
    """Names of the parameters that never learn: a checkpoint can do without them."""
    return {name for name, weight in module.named_parameters() if not weight.requires_grad}


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """L2 norm of all gradients, as one scalar."""
    return torch.nn.utils.get_total_norm([weight.grad for weight in parameters if weight.grad is not None])


def checksum(tensors: Iterable[Tensor]) -> Tensor:
    """A float64 scalar that changes when a value changes or two tensors change places (ours)."""
    terms = [place * _moments(tensor.detach().double()) for place, tensor in enumerate(tensors, start=1)]
    return torch.stack(terms).sum()


def _moments(tensor: Tensor) -> Tensor:
    return tensor.sum() + tensor.square().sum()
