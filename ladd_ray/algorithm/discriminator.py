"""Discriminator heads: one small independent network for each tapped block of the frozen teacher.

Their design follows StyleGAN-T and ADD in two dimensions: a residual block of spectral-norm convolutions, leaky
ReLU, one logit per token, and projection conditioning on noise level and pooled prompt (both: LADD, section 3). Ours
are the kernel size, the narrow entrance, the norms (over a token at the entrance, over groups of a sample inside, so
that a logit does not depend on the other samples of the batch), and free gain at entrance and exit: with spectral norm
everywhere the logits of a short training never left 0.

Shape legend: b batch, d width of the features, h w height and width of the token map, p pooled width, n
width of a head, o condition size.
"""

import math
from collections.abc import Sequence
from typing import Self

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.algorithm.spectral import SpectralConv2d
from ladd_ray.config import DiscriminatorConfig

CONDITION_SIZE = 64
"""Width in which features meet their condition (StyleGAN-T)."""
CHANNELS_PER_GROUP = 8


class DiscriminatorHeads(nn.Module):
    """Logits for the features of several blocks. No buffers: equal weights give equal logits, always."""

    def __init__(
        self,
        hidden_size: int | Sequence[int],
        pooled_size: int,
        *,
        num_blocks: int,
        width: int | None = None,
        depth: int = 2,
        kernel_size: int = 3,
        condition_on_sigma: bool = True,
        condition_on_prompt: bool = True,
    ) -> None:
        """Builds the heads.

        Args:
            hidden_size: Width d of the features, or one for each block.
            pooled_size: Width p of the pooled prompt embedding.
            num_blocks: Number of blocks that are judged, each by its own head.
            width: Channels inside a head, a multiple of 8; by default a quarter of the widest features.
            depth: Convolutions in the residual block.
            kernel_size: Their size, odd.
            condition_on_sigma: Tell the heads the noise level.
            condition_on_prompt: Tell the heads the pooled prompt embedding.

        Raises:
            ValueError: The width is not a multiple of 8.
        """
        super().__init__()
        hidden_sizes = [hidden_size] * num_blocks if isinstance(hidden_size, int) else list(hidden_size)
        assert len(hidden_sizes) == num_blocks, "one width of features for each block"
        width = width or max(hidden_sizes) // 4
        if width % CHANNELS_PER_GROUP:
            raise ValueError(f"heads cannot be {width} channels wide: set discriminator.width to a multiple of 8")
        self.heads = nn.ModuleList(
            Head(
                _trunk(hidden, width, depth=depth, kernel_size=kernel_size),
                width,
                sigma_embedding=SigmaEmbedding() if condition_on_sigma else None,
                prompt_embedding=PromptEmbedding(pooled_size) if condition_on_prompt else None,
            )
            for hidden in hidden_sizes
        )

    @classmethod
    def from_config(cls, config: DiscriminatorConfig, hidden_size: int, *, pooled_size: int, num_blocks: int) -> Self:
        """Heads for a transformer of ``num_blocks`` blocks, of which ``config`` may tap only some."""
        tapped = config.tapped_blocks
        return cls(
            hidden_size,
            pooled_size,
            num_blocks=num_blocks if tapped is None else len(tapped),
            width=config.width,
            depth=config.depth,
            kernel_size=config.kernel_size,
            condition_on_sigma=config.condition_on_sigma,
            condition_on_prompt=config.condition_on_prompt,
        )

    def forward(self, features: list[Tensor], sigma: Tensor, pooled_prompt_embeds: Tensor) -> list[Tensor]:
        """Logits (b, h, w) of each tapped block.

        Args:
            features: One map (b, d, h, w) for each tapped block.
            sigma: Noise levels of what the teacher saw (b,).
            pooled_prompt_embeds: (b, p).
        """
        pairs = zip(self.heads, features, strict=True)
        return [head(feature, sigma, pooled_prompt_embeds) for head, feature in pairs]


class SigmaEmbedding(nn.Module):
    """Noise level as a vector: sinusoids of 1000 sigma, as in diffusion transformers, and a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(CONDITION_SIZE, CONDITION_SIZE)
        self.outer = nn.Linear(CONDITION_SIZE, CONDITION_SIZE)

    def forward(self, sigma: Tensor) -> Tensor:
        """(b,) -> (b, o)."""
        half = CONDITION_SIZE // 2
        frequencies = 1000 * 10_000 ** (-torch.arange(half, device=sigma.device) / half)
        angles = rearrange(sigma.float(), "b -> b 1") * frequencies
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.inner.weight.dtype)
        embedding: Tensor = self.outer(functional.silu(self.inner(sinusoids)))
        return embedding


class PromptEmbedding(nn.Module):
    """Pooled prompt as a vector, normalised first: text towers differ in scale by orders of magnitude."""

    def __init__(self, pooled_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(pooled_size, CONDITION_SIZE)

    def forward(self, pooled_prompt_embeds: Tensor) -> Tensor:
        """(b, p) -> (b, o)."""
        pooled = pooled_prompt_embeds.to(self.project.weight.dtype)
        embedding: Tensor = self.project(functional.layer_norm(pooled, pooled.shape[-1:]))
        return embedding


class Head(nn.Module):
    """The judge of one block."""

    def __init__(
        self,
        trunk: nn.Sequential,
        width: int,
        *,
        sigma_embedding: SigmaEmbedding | None,
        prompt_embedding: PromptEmbedding | None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.sigma_embedding = sigma_embedding
        self.prompt_embedding = prompt_embedding
        conditional = sigma_embedding is not None or prompt_embedding is not None
        # Of free gain: bounded everywhere, the logits stay near 0 and tell the student next to nothing.
        self.project = nn.Conv2d(width, CONDITION_SIZE if conditional else 1, kernel_size=1)

    def forward(self, feature: Tensor, sigma: Tensor, pooled_prompt_embeds: Tensor) -> Tensor:
        """Feature (b, d, h, w) -> logits (b, h, w)."""
        hidden: Tensor = self.project(self.trunk(feature.to(self.project.weight.dtype)))
        condition = self._condition(sigma, pooled_prompt_embeds)
        if condition is None:
            return rearrange(hidden, "b 1 h w -> b h w")
        return einsum(hidden, condition, "b o h w, b o -> b h w") / math.sqrt(CONDITION_SIZE)

    def _condition(self, sigma: Tensor, pooled_prompt_embeds: Tensor) -> Tensor | None:
        parts = []
        if self.sigma_embedding is not None:
            parts.append(self.sigma_embedding(sigma))
        if self.prompt_embedding is not None:
            parts.append(self.prompt_embedding(pooled_prompt_embeds))
        return torch.stack(parts).sum(dim=0) if parts else None


class TokenNorm(nn.Module):
    """Every token to mean 0 and deviation 1 over its channels, as transformers read their residual stream.

    A norm over the image would hide what the student gets wrong first, contrast and saturation as a whole.
    """

    def forward(self, feature: Tensor) -> Tensor:
        """(b, d, h, w) -> (b, d, h, w)."""
        tokens = rearrange(feature, "b d h w -> b h w d")
        return rearrange(functional.layer_norm(tokens, tokens.shape[-1:]), "b h w d -> b d h w")


class ResidualBlock(nn.Module):
    """(x + f(x)) / sqrt 2, which keeps the variance (StyleGAN-T)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        """(b, n, h, w) -> (b, n, h, w)."""
        change: Tensor = self.inner(hidden)
        return (hidden + change) / math.sqrt(2)


def _trunk(hidden_size: int, width: int, *, depth: int, kernel_size: int) -> nn.Sequential:
    residual = nn.Sequential(*(_convolution(width, width, kernel_size=kernel_size) for _ in range(depth)))
    entrance = nn.Conv2d(hidden_size, width, kernel_size=1)
    return nn.Sequential(TokenNorm(), entrance, nn.LeakyReLU(0.2), ResidualBlock(residual))


def _convolution(in_channels: int, out_channels: int, *, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        SpectralConv2d(in_channels, out_channels, kernel_size=kernel_size),
        nn.GroupNorm(out_channels // CHANNELS_PER_GROUP, out_channels),
        nn.LeakyReLU(0.2),
    )
