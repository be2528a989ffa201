"""Tiny networks with the contracts of the real ones, for tests of the algorithm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ladd_ray.interfaces import Condition, LatentBatch

CHANNELS, POOLED, HIDDEN = 2, 4, 16


class TinyDenoiser(nn.Module):
    """A flow network of two 1x1 convolutions that sees the level and the prompt."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.condition = nn.Linear(POOLED + 1, hidden)
        self.inner = nn.Conv2d(CHANNELS, hidden, 1)
        self.middle = nn.Conv2d(hidden, hidden, 1)
        self.outer = nn.Conv2d(hidden, CHANNELS, 1)

    def forward(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: None = None,
        strengths: Tensor | None = None,
    ) -> Tensor:
        condition = self.condition(torch.cat([pooled_prompt_embeds, sigma[:, None]], dim=1))
        hidden = functional.silu(self.inner(x_sigma) + condition[:, :, None, None])
        return self.outer(functional.silu(self.middle(hidden)))


class TinyFeatures(nn.Module):
    """A frozen teacher of two blocks; it records the noised latents it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(CHANNELS, HIDDEN, 1), nn.Conv2d(HIDDEN, HIDDEN, 1)])
        self.requires_grad_(False)
        self.seen: list[Tensor] = []

    def forward(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: None = None,
        strengths: Tensor | None = None,
    ) -> list[Tensor]:
        self.seen.append(x_sigma.detach())
        first = functional.silu(self.blocks[0](x_sigma))
        return [first, functional.silu(self.blocks[1](first))]


def prompts(rows: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(rows, 3, 5, generator=generator, dtype=dtype)
    return Condition(tokens, torch.randn(rows, POOLED, generator=generator, dtype=dtype))


def latent_batch(rows: int = 4, *, height: int = 4, width: int = 6, first_id: int = 0) -> LatentBatch:
    generator = torch.Generator().manual_seed(first_id)
    latents = torch.randn(rows, CHANNELS, height, width, generator=generator)
    return LatentBatch(latents, prompts(rows), tuple(range(first_id, first_id + rows)))
