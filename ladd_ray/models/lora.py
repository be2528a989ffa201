"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): a student that is a small change of its frozen teacher.

    y = W x + b + alpha / r  up (down x)        up = 0 at start

The student is a second tree of modules over the SAME frozen weights. The teacher's tree holds no adapter at all, so
that the judge and the teacher read the bare network by construction, and no switch can be left in the wrong place.

Shape legend: i o input and output width of a layer, r rank.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.config import LoraConfig

_BASE, _DOWN, _UP = ".base.", ".down", ".up"


class AdaptedLinear(nn.Module):
    """A frozen linear layer and the change that is learned in its place."""

    def __init__(self, base: nn.Linear, *, rank: int, scale: float) -> None:
        super().__init__()
        self.base = base
        self.scale = scale
        weight = base.weight
        self.down = nn.Parameter(weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., i) -> (..., o)."""
        change = functional.linear(functional.linear(hidden, self.down), self.up)
        adapted: Tensor = self.base(hidden) + self.scale * change
        return adapted


def with_adapters(transformer: SD3Transformer2DModel, config: LoraConfig) -> SD3Transformer2DModel:
    """A transformer over the same weights, which become frozen, with a fresh adapter in every layer asked for.

    ``transformer`` itself stays as it is, whatever becomes of the adapters. Draws from torch's global generator.

    Raises:
        ValueError: a name in ``config.targets`` that no linear layer has.
    """
    transformer.requires_grad_(False)
    shared = {id(tensor): tensor for tensor in (*transformer.parameters(), *transformer.buffers())}
    adapted = copy.deepcopy(transformer, shared)
    layers = _targeted_layers(adapted, config.targets)
    scale = lora_scale(config)
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(adapted.get_submodule(parent), child, AdaptedLinear(layer, rank=config.rank, scale=scale))
    return adapted


def merge_adapters(state_dict: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The weights of a plain transformer, W + alpha / r up down, named as if there had never been adapters.

    Args:
        state_dict: whole weights of a network with adapters, or of one without, which come back as they are.
        config: the one that the adapters were made with.
    """
    layers = [name.removesuffix(_UP) for name in state_dict if name.endswith(_UP)]
    changes = {layer + _BASE + "weight": _change(state_dict, layer, scale=lora_scale(config)) for layer in layers}
    ours = {layer + part for layer in layers for part in (_DOWN, _UP)}
    return {
        name.replace(_BASE, "."): tensor + changes[name].to(tensor) if name in changes else tensor
        for name, tensor in state_dict.items()
        if name not in ours
    }


def lora_scale(config: LoraConfig) -> float:
    """What the product of an adapter's matrices is multiplied by."""
    return (config.alpha or config.rank) / config.rank if config.rank else 0.0


def _targeted_layers(transformer: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear]:
    linear = {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}
    found = {target: [name for name in linear if name.endswith("." + target)] for target in targets}
    if absent := [target for target, names in found.items() if not names]:
        raise ValueError(f"lora.targets {absent} name no linear layer of this transformer; it has {_endings(linear)}")
    return {name: linear[name] for names in found.values() for name in names}


def _endings(names: Mapping[str, nn.Linear]) -> list[str]:
    """What the layers inside the blocks are called."""
    return sorted({name.split(".", maxsplit=3)[-1] for name in names if name.startswith("transformer_blocks.")})


def _change(state_dict: Mapping[str, Tensor], layer: str, *, scale: float) -> Tensor:
    # In fp32: the product of two bf16 matrices would be rounded twice.
    up, down = state_dict[layer + _UP].float(), state_dict[layer + _DOWN].float()
    return scale * torch.matmul(up, down)
