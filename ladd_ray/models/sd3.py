"""The two networks made of a Stable Diffusion 3 transformer: the flow network, and the judge's features.

Shape legend: b batch, c latent channels, h w latent height and width, l prompt tokens, e embedding width,
p pooled width, d hidden width of the transformer; an image token is a patch of 2 x 2 latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ladd_ray.algorithm.strengths import NUM_FEATURES
from ladd_ray.algorithm.tasks import generate_channels
from ladd_ray.models.strengths import StrengthEmbedding

_MOST_COMPILATIONS = 64
"""Of all blocks together, before what is new is not compiled any more."""
TIMESTEPS = 1000
"""The transformer was trained on timestep = 1000 sigma; nothing outside this folder says timestep."""


class SD3Module(nn.Module):
    """What both networks share: the transformer, its sizes, and the cast of inputs to its precision."""

    def __init__(self, transformer: SD3Transformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer

    @property
    def hidden_size(self) -> int:
        """Width d of an image token."""
        return int(self.transformer.inner_dim)

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks."""
        return len(self.transformer.transformer_blocks)

    @property
    def prompt_size(self) -> int:
        """Width e of a prompt token."""
        return int(self.transformer.config.joint_attention_dim)

    @property
    def pooled_size(self) -> int:
        """Width p of the pooled prompt embedding."""
        return int(self.transformer.config.pooled_projection_dim)

    @property
    def latent_channels(self) -> int:
        """Channels c of a latent."""
        return int(self.transformer.out_channels)

    @property
    def num_task_channels(self) -> int:
        """Input channels beside the latents: 0 of a text-to-image network, 1 + c of one that edits and inpaints."""
        return int(self.transformer.config.in_channels) - self.latent_channels

    def with_task(self, x_sigma: Tensor, task_channels: Tensor | None) -> Tensor:
        """Everything the first layer reads; without task channels, a network that wants them generates.

        Raises:
            ValueError: task channels for a network that has no input for them.
        """
        if self.num_task_channels == 0:
            if task_channels is not None:
                raise ValueError("this network only generates: widen it (models.widening) to edit and inpaint")
            return x_sigma
        if task_channels is None:
            task_channels = generate_channels(x_sigma)
        return torch.cat([x_sigma, task_channels.to(x_sigma)], dim=1)

    def cast(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors in the precision of the weights."""
        dtype = self.transformer.proj_out.weight.dtype
        return tuple(tensor.to(dtype) for tensor in tensors)


class SD3Denoiser(SD3Module):
    """The flow network: predicts the velocity v = noise - x0.

    Args:
        transformer: may be shared with an ``SD3Features``.
        strengths: guidance knobs; None for a network that has none.
        activation_checkpointing: recompute the blocks' activations in the backward pass.
        autocast: matrix products in bf16, whatever the precision of the weights.
    """

    def __init__(
        self,
        transformer: SD3Transformer2DModel,
        *,
        strengths: StrengthEmbedding | None = None,
        activation_checkpointing: bool = False,
        autocast: bool = False,
    ) -> None:
        super().__init__(transformer)
        self.strengths = strengths
        self._autocast = autocast
        if activation_checkpointing:
            transformer.enable_gradient_checkpointing()

    def forward(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
    ) -> Tensor:
        """Velocity (b, c, h, w), in the precision of ``x_sigma``.

        Args:
            x_sigma: noisy latents (b, c, h, w); h and w even.
            sigma: noise level in [0, 1], (b,).
            prompt_embeds: (b, l, e).
            pooled_prompt_embeds: (b, p).
            task_channels: (b, 1 + c, h, w), see ``algorithm.tasks``; None generates.
            strengths: text and image guidance to imitate (b, 2); a network with knobs takes their defaults for None,
                one without pays no attention.
        """
        latents, context, pooled = self.cast(
            self.with_task(x_sigma, task_channels), prompt_embeds, self._steered(pooled_prompt_embeds, strengths)
        )
        # In here and not around the call: engines replace the autocast of their caller by their own.
        device = latents.device.type
        with torch.autocast(device, torch.bfloat16) if self._autocast else nullcontext():
            velocity: Tensor = self.transformer(
                hidden_states=latents,
                encoder_hidden_states=context,
                pooled_projections=pooled,
                timestep=TIMESTEPS * sigma,
                return_dict=False,
            )[0]
        return velocity.to(x_sigma.dtype)

    def compile_blocks(self, *, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile block by block: they are alike, and what was compiled for one serves all.

        It serves every number of rows and every size too, but for a single row, which is compiled apart. So are the
        first block, the last one and those with a second attention; numbers that happen to be equal at first cost
        another time.
        """
        for block in self.transformer.transformer_blocks:
            block.compile(dynamic=True, backend=backend, recompile_limit=_MOST_COMPILATIONS)

    @property
    def judged_prompt_size(self) -> int:
        """Width of what the heads are told of this student's prompts; see ``algorithm.strengths.judged_prompt``."""
        return self.pooled_size + (NUM_FEATURES if self.strengths is not None else 0)

    def _steered(self, pooled: Tensor, strengths: Tensor | None) -> Tensor:
        """The pooled prompt (b, p), which carries the strengths."""
        if self.strengths is None:
            return pooled
        if strengths is None:
            strengths = self.strengths.knobs.pick().rows(len(pooled), device=pooled.device)
        offset: Tensor = self.strengths(strengths)
        return pooled + offset.to(pooled.dtype)


class SD3Features(SD3Module):
    """The judge's backbone: image tokens after each tapped block (paper section 3), and no later block.

    Its forward is its own, so that sharding, recomputation and compilation see an ordinary module.

    Args:
        transformer: may be shared with an ``SD3Denoiser``.
        tapped_blocks: rising block numbers, counted from 0; None taps every block.
        activation_checkpointing: recompute the blocks' activations in the backward pass.

    Raises:
        ValueError: a tapped block that the transformer does not have.
    """

    def __init__(
        self,
        transformer: SD3Transformer2DModel,
        *,
        tapped_blocks: Sequence[int] | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(transformer)
        self.tapped_blocks = tuple(range(self.num_blocks) if tapped_blocks is None else tapped_blocks)
        self.activation_checkpointing = activation_checkpointing
        known = [block for block in range(self.num_blocks) if block in self.tapped_blocks]
        if not known or known != list(self.tapped_blocks):
            raise ValueError(
                f"tapped_blocks = {self.tapped_blocks} must be rising, distinct and within "
                f"0..{self.num_blocks - 1}, the blocks of this transformer"
            )

    def forward(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        _strengths: Tensor | None = None,
    ) -> list[Tensor]:
        """A map (b, d, h/2, w/2) per tapped block, in the weights' precision; inputs as ``SD3Denoiser``'s.

        Strengths are for the student and for the heads: the frozen transformer never learned any.
        """
        latents, context, pooled = self.cast(
            self.with_task(x_sigma, task_channels), prompt_embeds, pooled_prompt_embeds
        )
        tokens = self.transformer.pos_embed(latents).contiguous()
        conditioning = self.transformer.time_text_embed(TIMESTEPS * sigma, pooled)
        context = self.transformer.context_embedder(context)
        rows = latents.shape[-2] // self.transformer.config.patch_size

        features = []
        needed = islice(self.transformer.transformer_blocks, self.tapped_blocks[-1] + 1)
        for index, block in enumerate(needed):
            context, tokens = self._run(block, tokens, context, conditioning)
            if index in self.tapped_blocks:
                features.append(rearrange(tokens, "b (h w) d -> b d h w", h=rows))
        return features

    def truncate(self) -> None:
        """Let the weights behind the last tapped block go. Only where no other network shares the transformer."""
        self.transformer.transformer_blocks = self.transformer.transformer_blocks[: self.tapped_blocks[-1] + 1]

    def _run(self, block: nn.Module, tokens: Tensor, context: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        if self.activation_checkpointing and torch.is_grad_enabled():
            context, tokens = checkpoint(block, tokens, context, conditioning, use_reentrant=False)
        else:
            context, tokens = block(tokens, context, conditioning)
        return context, tokens
