"""What flows between the floors: batches, conditions, and the contracts of networks, engines and trackers.

Shape legend: b batch, c latent channels, h w latent height and width, l prompt tokens, e embedding width,
p pooled width, d hidden width of the transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Condition(NamedTuple):
    """What a batch is drawn from: encoded prompts and, to edit or inpaint, pictures to start from.

    Unpack it into a network call: ``denoiser(x_sigma, sigma, *condition)``. A plain tuple of tensors on purpose:
    sharded modules only see tensors that lie directly in their arguments.
    """

    prompt_embeds: Tensor
    """Token embeddings (b, l, e)."""
    pooled_prompt_embeds: Tensor
    """Pooled embeddings (b, p)."""
    task_channels: Tensor | None = None
    """Mask and source latents (b, 17, h, w), see ``algorithm.tasks``; None generates from the prompt alone."""
    strengths: Tensor | None = None
    """Text and image guidance that a student imitates (b, 2); networks that do not know them pay no attention."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Condition:
        """The same on another device or in another precision."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype or tensor.dtype))

    def rows(self, rows: slice | Tensor) -> Condition:
        """Some rows of the batch."""
        return self._map(lambda tensor: tensor[rows])

    def expand(self, batch_size: int) -> Condition:
        """A single row for a whole batch; a batch of that size stays as it is."""
        return self._map(lambda tensor: tensor.expand(batch_size, *tensor.shape[1:]))

    @staticmethod
    def concatenate(*conditions: Condition) -> Condition:
        """All batches, one after the other, as guidance wants them; a field is there in all of them or in none."""
        embeds, pooled, tasks, strengths = zip(*conditions, strict=True)
        return Condition(torch.cat(embeds), torch.cat(pooled), _concatenated(tasks), _concatenated(strengths))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        embeds, pooled, *others = self
        task_channels, strengths = (None if tensor is None else change(tensor) for tensor in others)
        return Condition(change(embeds), change(pooled), task_channels, strengths)


def _concatenated(tensors: tuple[Tensor | None, ...]) -> Tensor | None:
    given = [tensor for tensor in tensors if tensor is not None]
    assert len(given) in (0, len(tensors)), "some rows have what others lack"
    return torch.cat(given) if given else None


@dataclass(frozen=True)
class LatentBatch:
    """Clean latents with their prompts; every sample carries its number in the stream, which seeds its noise."""

    latents: Tensor
    """x0, scaled as the transformer sees it (b, c, h, w)."""
    prompt: Condition
    sample_ids: tuple[int, ...]
    """Position of each sample in the global stream of the run: independent of ranks and micro batches."""
    real: Tensor | None = None
    """(b,) bool, True where x0 is an encoded picture and not a teacher's drawing; None where all are drawings."""


class Denoiser(Protocol):
    """A flow network: velocity v = noise - x0 at (x_sigma, sigma). Shapes (b, c, h, w), (b,), and a ``Condition``."""

    def __call__(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
        /,
    ) -> Tensor: ...


class FeatureExtractor(Protocol):
    """The frozen judge: image tokens after each tapped block, laid out in 2-D, each (b, d, h/2, w/2)."""

    def __call__(
        self,
        x_sigma: Tensor,
        sigma: Tensor,
        prompt_embeds: Tensor,
        pooled_prompt_embeds: Tensor,
        task_channels: Tensor | None = None,
        strengths: Tensor | None = None,
        /,
    ) -> list[Tensor]: ...


class Heads(Protocol):
    """Discriminator heads: one map of logits (b, h/2, w/2) per tapped block."""

    def __call__(self, features: list[Tensor], sigma: Tensor, pooled_prompt_embeds: Tensor, /) -> list[Tensor]: ...


@dataclass(frozen=True)
class Update:
    """What one ``update(loss)`` did."""

    stepped: bool
    """False while gradients are still being accumulated."""
    gradient_norm: float
    """Global L2 norm before clipping, of the last optimizer step."""
    lr: float
    """The learning rate of the last optimizer step."""


class TrainableNetwork(Protocol):
    """A network with its optimizer, its schedule, its shards and (if asked for) its moving average."""

    module: nn.Module
    """The bare network, for forwards inside another network's turn."""

    def __call__(self, *inputs: Any) -> Any:
        """The forward of this network's own turn."""
        ...

    def update(self, loss: Tensor) -> Update:
        """Backward, clip, step, zero the gradients; raises ``FloatingPointError`` when the loss is not finite."""
        ...

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """The bare network with ``requires_grad`` off: gradients pass through it and none stay in it."""
        ...

    def full_state_dict(self, *, ema: bool = False) -> Mapping[str, Tensor]:
        """Whole, unsharded weights on the CPU; collective, and empty on ranks other than 0."""
        ...

    def ema_weights(self) -> AbstractContextManager[nn.Module]:
        """The network with its moving average swapped in; collective."""
        ...

    def save(self, directory: Path) -> None:
        """This rank's shard of weights, optimizer, schedule and moving average; collective."""
        ...

    def load(self, directory: Path) -> None:
        """Restores what ``save`` wrote, also at another world size; collective."""
        ...

    def checksum(self) -> float:
        """A number that differs when the weights differ, equal on all ranks when they agree; collective."""
        ...


class Engine(Protocol):
    """Where networks live: one device, or shards over many. No word about the method in here."""

    rank: int
    world_size: int
    device: torch.device

    def prepare(self, module: nn.Module, settings: Any, *, total_steps: int | None = None) -> TrainableNetwork:
        """A trainable network; its weights without ``requires_grad`` stay as they are, and out of its checkpoints.

        Args:
            module: the network.
            settings: a ``config.OptimizerConfig`` (student or discriminator).
            total_steps: length of its learning-rate schedule; by default the optimizer steps of the run.
        """
        ...

    def freeze(self, module: nn.Module, *, sharded: bool) -> nn.Module:
        """A frozen network, replicated or sharded; gradients flow through it to its inputs."""
        ...

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over ranks of each value; collective."""
        ...

    def gather_objects(self, value: Any) -> list[Any]:
        """One object per rank, in rank order, on every rank; collective."""
        ...

    def barrier(self) -> None:
        """Waits for all ranks."""
        ...


class Tracker(Protocol):
    """Where numbers and files of a run go. Only rank 0 holds a real one."""

    @property
    def run_id(self) -> str | None:
        """Identifies the tracked run, so that a restarted job continues it."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_artifacts(self, paths: Iterator[Path] | list[Path]) -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...
