"""From a text-to-image transformer to one that also edits and inpaints, and back.

``widen`` adds input channels for mask and source; their weights start at zero, so the wide network starts as the
narrow one. ``fold_generation`` is exact too: with mask 1 and source 0 everywhere, the extra channels are a constant,
which the bias of the patch embedding takes over. [ours]
"""

from __future__ import annotations

import torch
from diffusers import SD3Transformer2DModel


def widen(transformer: SD3Transformer2DModel) -> SD3Transformer2DModel:
    """A copy with 2 c + 1 input channels: c noisy latents, the mask, c source latents.

    Raises:
        ValueError: the transformer is wide already.
    """
    latents = transformer.out_channels
    if transformer.config.in_channels != latents:
        raise ValueError(f"this transformer reads {transformer.config.in_channels} channels: it is wide already")
    narrow = transformer.pos_embed.proj.weight
    wide = narrow.new_zeros(narrow.shape[0], 2 * latents + 1, *narrow.shape[2:])
    wide[:, :latents] = narrow.detach()
    return _with_input(transformer, wide, transformer.pos_embed.proj.bias.detach())


def fold_generation(transformer: SD3Transformer2DModel) -> SD3Transformer2DModel:
    """A copy with c input channels that draws what the wide transformer draws from a prompt alone.

    Raises:
        ValueError: the transformer is not a wide one.
    """
    latents = transformer.out_channels
    if transformer.config.in_channels != 2 * latents + 1:
        raise ValueError(f"this transformer reads {transformer.config.in_channels} channels: there is nothing to fold")
    weight = transformer.pos_embed.proj.weight.detach()
    of_mask = weight[:, latents].sum(dim=(1, 2))
    return _with_input(transformer, weight[:, :latents], transformer.pos_embed.proj.bias.detach() + of_mask)


@torch.no_grad()
def _with_input(transformer: SD3Transformer2DModel, weight: torch.Tensor, bias: torch.Tensor) -> SD3Transformer2DModel:
    """A copy of the transformer whose patch embedding has these weights (d, channels, 2, 2) and this bias (d,)."""
    # Names with an underscore are diffusers' own notes; one of them would undo the change of in_channels.
    sizes = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
    sizes |= {"in_channels": weight.shape[1], "out_channels": transformer.out_channels}
    copy = SD3Transformer2DModel(**sizes).to(transformer.device, transformer.dtype)
    state = dict(transformer.state_dict())
    state["pos_embed.proj.weight"], state["pos_embed.proj.bias"] = weight, bias
    copy.load_state_dict(state)
    return copy
