"""The engine of one device: plain PyTorch, no process group.

With bf16 the network itself is bf16 and the optimizer works on fp32 master weights, as under DeepSpeed: in
both engines a network takes care of the precision of its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ladd_ray.config import OptimizerConfig
from ladd_ray.engine import optim
from ladd_ray.engine.ema import MovingAverage
from ladd_ray.engine.weights import (
    checksum,
    frozen_names,
    frozen_weights,
    gradient_norm,
    local_weights,
    trainable_weights,
)
from ladd_ray.interfaces import Update

FILE_NAME = "network.pt"


class LocalEngine:
    """Trains on one device. Same interface as ``ZeroEngine``, for debugging and single-GPU runs.

    Args:
        device: where the networks go.
        total_steps: optimizer steps of the run; the length of the learning-rate schedule.
        gradient_accumulation_steps: calls of ``update`` per optimizer step.
    """

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device | str, *, total_steps: int, gradient_accumulation_steps: int = 1) -> None:
        self.device = torch.device(device)
        self._total_steps = total_steps
        self._accumulation = gradient_accumulation_steps

    def prepare(self, module: nn.Module, settings: OptimizerConfig, *, total_steps: int | None = None) -> LocalNetwork:
        """A trainable network with its own optimizer; ``zero_stage`` and offloading mean nothing here."""
        module.to(self.device)
        return LocalNetwork(
            module,
            settings,
            total_steps=self._total_steps if total_steps is None else total_steps,
            gradient_accumulation_steps=self._accumulation,
        )

    def freeze(self, module: nn.Module, *, sharded: bool) -> nn.Module:
        """A frozen network; gradients flow through it to its inputs.

        Raises:
            ValueError: ``sharded``, which one device cannot do.
        """
        if sharded:
            raise ValueError("one device cannot shard: freeze with sharded=False, or set run.engine = deepspeed")
        return module.to(self.device).eval().requires_grad_(False)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """``values``, of the one rank there is."""
        return dict(values)

    def gather_objects(self, value: Any) -> list[Any]:
        """``[value]``."""
        return [value]

    def barrier(self) -> None:
        """Nobody to wait for."""


class LocalNetwork:
    """A trainable network on one device; see ``interfaces.TrainableNetwork``."""

    def __init__(
        self,
        module: nn.Module,
        settings: OptimizerConfig,
        *,
        total_steps: int,
        gradient_accumulation_steps: int,
    ) -> None:
        self.module = module
        self._settings = settings
        self._accumulation = gradient_accumulation_steps
        self._micro_step = 0
        self._frozen = frozen_names(module)
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        self._masters = self._make_masters()
        self._optimizer = optim.adamw(self._masters, settings)
        self._schedule = optim.lr_schedule(self._optimizer, settings, total_steps=total_steps)
        decay = getattr(settings, "ema_decay", 0.0)
        self._ema = MovingAverage(trainable_weights(module), decay) if decay else None
        self._last = Update(stepped=False, gradient_norm=0.0, lr=self._lr())

    def __call__(self, *inputs: Any) -> Any:
        """The forward of the bare network."""
        return self.module(*inputs)

    def update(self, loss: Tensor) -> Update:
        """Backward; when an accumulation ends also clip, step, zero the gradients, average the weights.

        Raises:
            FloatingPointError: the loss or the gradient norm is not finite.
        """
        self._require_finite("loss", loss.item())
        (loss / self._accumulation).backward()
        self._micro_step += 1
        if self._micro_step % self._accumulation:
            return replace(self._last, stepped=False)
        lr = self._lr()
        self._last = Update(stepped=True, gradient_norm=self._step(), lr=lr)
        if self._ema is not None:
            self._ema.update(local_weights(self.module))
        return self._last

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """The bare network with ``requires_grad`` off."""
        return frozen_weights(self.module)

    def full_state_dict(self, *, ema: bool = False) -> Mapping[str, Tensor]:
        """Copies of all weights on the CPU, in the precision of the network."""
        with self.ema_weights() if ema else nullcontext(self.module) as module:
            return {name: tensor.to("cpu", copy=True) for name, tensor in module.state_dict().items()}

    @contextmanager
    def ema_weights(self) -> Iterator[nn.Module]:
        """The network with its moving average swapped in; as it is where none is kept."""
        if self._ema is None:
            yield self.module
            return
        with self._ema.swapped(lambda: nullcontext(local_weights(self.module))):
            yield self.module

    def save(self, directory: Path) -> None:
        """What learns, with optimizer, schedule and moving average, in one file fit for ``weights_only`` loading."""
        assert self._micro_step % self._accumulation == 0, "save between optimizer steps, not inside one"
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(self._state(), directory / FILE_NAME)

    def load(self, directory: Path) -> None:
        """Restores what ``save`` wrote."""
        state = torch.load(directory / FILE_NAME, map_location="cpu", weights_only=True)
        missing, unexpected = self.module.load_state_dict(state["module"], strict=False)
        assert not unexpected and self._frozen.issuperset(missing), "the checkpoint is of another network"
        with torch.no_grad():
            for master, saved in zip(self._masters, state["masters"], strict=True):
                master.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._micro_step = state["micro_step"]
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])

    def checksum(self) -> float:
        """See ``weights.checksum``."""
        return checksum(self.module.parameters()).item()

    def _state(self) -> dict[str, Any]:
        weights = self.module.state_dict()
        return {
            "module": {name: tensor for name, tensor in weights.items() if name not in self._frozen},
            "masters": [master.detach() for master in self._masters],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "micro_step": self._micro_step,
            "ema": self._ema.state_dict() if self._ema is not None else None,
        }

    def _make_masters(self) -> list[Tensor]:
        if getattr(self._settings, "precision", "fp32") == "fp32":
            return list(self._weights)
        masters: list[Tensor] = [weight.detach().float().clone().requires_grad_() for weight in self._weights]
        self.module.to(torch.bfloat16)
        return masters

    def _step(self) -> float:
        self._gradients_to_masters()
        norm = gradient_norm(self._masters)
        self._require_finite("gradient norm", norm.item())
        if self._settings.gradient_clipping > 0:
            torch.nn.utils.clip_grads_with_norm_(self._masters, self._settings.gradient_clipping, norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        self._masters_to_weights()
        return norm.item()

    def _gradients_to_masters(self) -> None:
        for weight, master in self._pairs():
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None

    @torch.no_grad()
    def _masters_to_weights(self) -> None:
        for weight, master in self._pairs():
            weight.copy_(master)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        pairs = zip(self._weights, self._masters, strict=True)
        return [(weight, master) for weight, master in pairs if weight is not master]

    def _lr(self) -> float:
        return float(self._schedule.get_last_lr()[0])

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            step = self._micro_step // self._accumulation
            raise FloatingPointError(f"{what} is {value} at step {step} on rank 0")
