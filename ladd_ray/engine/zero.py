"""The distributed engine: DeepSpeed ZeRO over ``torch.distributed``. The only file that imports deepspeed.

One DeepSpeed engine per trainable network. A network that only passes gradients on takes part through its
bare module: ``engine.module(x)``, never ``engine(x)``, whose bookkeeping expects a backward of its own.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ladd_ray.config import OptimizerConfig
from ladd_ray.engine import optim
from ladd_ray.engine.ema import MovingAverage
from ladd_ray.engine.extensions import clear_stale_build_locks
from ladd_ray.engine.weights import checksum, frozen_weights, gradient_norm, local_weights, trainable_weights
from ladd_ray.engine.zero_checkpoint import load_shards, save_shards
from ladd_ray.engine.zero_config import deepspeed_config, frozen_config
from ladd_ray.interfaces import Update

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read once, while deepspeed is imported

import deepspeed

# DeepSpeed calls collectives by names that torch renames, at every step.
warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+_tensor` is deprecated", category=FutureWarning)

__all__ = ["ZeroEngine", "ZeroNetwork", "deepspeed_config"]


class ZeroEngine:
    """Shards networks over the ranks of the default process group.

    Joins that group from the environment where the launcher has not; alone, it is a group of one.

    Args:
        total_steps: optimizer steps of the run; the length of the learning-rate schedule.
        micro_batch_size: samples per rank and forward.
        gradient_accumulation_steps: calls of ``update`` per optimizer step.
    """

    def __init__(self, *, total_steps: int, micro_batch_size: int, gradient_accumulation_steps: int = 1) -> None:
        clear_stale_build_locks()
        _join_process_group()
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.device = _own_device()
        self._total_steps = total_steps
        self._micro_batch_size = micro_batch_size
        self._accumulation = gradient_accumulation_steps
        self._frozen_engines: list[deepspeed.DeepSpeedEngine] = []

    def prepare(self, module: nn.Module, settings: OptimizerConfig, *, total_steps: int | None = None) -> ZeroNetwork:
        """A trainable network behind its own DeepSpeed engine; rank 0's weights win.

        With ``precision = "bf16"`` the module becomes bf16 and has to cast its inputs itself.
        """
        optimizer = optim.adamw(module.parameters(), settings)
        engine, *_ = deepspeed.initialize(
            model=module,
            optimizer=optimizer,
            lr_scheduler=optim.lr_schedule(
                optimizer, settings, total_steps=self._total_steps if total_steps is None else total_steps
            ),
            config=deepspeed_config(
                settings,
                micro_batch_size=self._micro_batch_size,
                gradient_accumulation_steps=self._accumulation,
                world_size=self.world_size,
            ),
        )
        _forget_rehearsal(engine.optimizer)
        return ZeroNetwork(engine, settings)

    def freeze(self, module: nn.Module, *, sharded: bool) -> nn.Module:
        """A frozen network: a replica on this device, or cut into shards with ZeRO-3."""
        module.eval().requires_grad_(False)
        if not sharded:
            return module.to(self.device)
        bf16 = next(module.parameters()).dtype == torch.bfloat16
        config = frozen_config(micro_batch_size=self._micro_batch_size, bf16=bf16)
        engine, *_ = deepspeed.initialize(model=module, config=config)
        # A collected engine takes the hooks that gather the shards with it.
        self._frozen_engines.append(engine)
        frozen: nn.Module = engine.module
        return frozen

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over ranks of each value; collective, with the same names on every rank."""
        names = sorted(values)
        total = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(names, (total / self.world_size).tolist(), strict=True))

    def gather_objects(self, value: Any) -> list[Any]:
        """One object per rank, in rank order, on every rank; collective."""
        gathered: list[Any] = [None] * self.world_size
        dist.all_gather_object(gathered, value)
        return gathered

    def barrier(self) -> None:
        """Waits for all ranks."""
        dist.barrier()


class ZeroNetwork:
    """A trainable network behind a DeepSpeed engine; see ``interfaces.TrainableNetwork``."""

    def __init__(self, engine: deepspeed.DeepSpeedEngine, settings: OptimizerConfig) -> None:
        self.module: nn.Module = engine.module
        self._engine = engine
        self._stage = settings.zero_stage
        decay = getattr(settings, "ema_decay", 0.0)
        self._ema = MovingAverage(trainable_weights(self.module), decay) if decay else None
        self._last = Update(stepped=False, gradient_norm=0.0, lr=engine.get_lr()[0])

    def __call__(self, *inputs: Any) -> Any:
        """The forward of this network's own turn, through the DeepSpeed engine."""
        return self._engine(*inputs)

    def update(self, loss: Tensor) -> Update:
        """Backward; when an accumulation ends also clip, step, zero the gradients, average the weights.

        Raises:
            FloatingPointError: a loss or the gradient norm is not finite; on all ranks, so that none waits.
        """
        self._require_finite_losses(loss)
        ends_accumulation = self._engine.is_gradient_accumulation_boundary()
        self._engine.backward(loss)
        lr = self._engine.get_lr()[0]
        norm = self._step(ends_accumulation)
        if not ends_accumulation:
            return replace(self._last, stepped=False)
        self._last = Update(stepped=True, gradient_norm=norm, lr=lr)
        if self._ema is not None:
            self._ema.update(local_weights(self.module))
        return self._last

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """The bare network with ``requires_grad`` off: right at every ZeRO stage, unlike a trainable one."""
        return frozen_weights(self.module)

    def full_state_dict(self, *, ema: bool = False) -> Mapping[str, Tensor]:
        """Whole weights on rank 0's CPU in the precision of the network, gathered one by one; collective."""
        with self.ema_weights() if ema else nullcontext(self.module) as module:
            state: dict[str, Tensor] = {}
            for name, tensor in module.state_dict(keep_vars=True).items():
                with deepspeed.zero.GatheredParameters([tensor], enabled=hasattr(tensor, "ds_id")):
                    if dist.get_rank() == 0:
                        state[name] = tensor.detach().to("cpu", copy=True)
            return state

    @contextmanager
    def ema_weights(self) -> Iterator[nn.Module]:
        """The network with its moving average swapped in, or as it is where none is kept; collective."""
        if self._ema is None:
            yield self.module
            return
        with self._ema.swapped(self._writable_weights):
            yield self.module

    def save(self, directory: Path) -> None:
        """This rank's files; all ranks may share a directory, or have theirs merged later; collective."""
        save_shards(self._engine, directory, zero_stage=self._stage, ema=self._ema)

    def load(self, directory: Path) -> None:
        """Restores the files of all ranks into a fresh network, also of another world size; collective.

        Only load checkpoints you trust: DeepSpeed's files are pickles.

        Raises:
            ValueError: the checkpoint was saved at another ZeRO stage.
        """
        load_shards(self._engine, directory, zero_stage=self._stage, ema=self._ema)

    def checksum(self) -> float:
        """Of all weights: summed over shards at stage 3, of this rank's replica otherwise; collective."""
        if self._stage < 3:
            return checksum(self.module.parameters()).item()
        total = checksum(_unpadded_shard(weight) for weight in self.module.parameters())
        dist.all_reduce(total)
        return total.item()

    def _step(self, ends_accumulation: bool) -> float:
        """Steps if an accumulation ends; the norm of the last optimizer step before clipping."""
        # ZeRO measures the norm while it steps; at stage 0 the gradients are gone by then.
        replicated = self._stage == 0 and ends_accumulation
        norm = gradient_norm(self.module.parameters()) if replicated else None
        self._engine.step()
        if not ends_accumulation:
            return self._last.gradient_norm
        return self._finite_norm(float(self._engine.get_global_grad_norm() if norm is None else norm))

    def _finite_norm(self, norm: float) -> float:
        # ZeRO reports -1 for a norm that is infinite or not a number.
        if norm < 0 or not math.isfinite(norm):
            step = self._engine.global_steps - 1
            raise FloatingPointError(f"gradient norm is not finite at step {step} on rank {dist.get_rank()}")
        return norm

    def _require_finite_losses(self, loss: Tensor) -> None:
        mine = loss.detach().float().reshape(1)
        losses = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(losses, mine)
        values = torch.cat(losses).tolist()
        bad = [f"{value} on rank {rank}" for rank, value in enumerate(values) if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(f"loss is {', '.join(bad)} at step {self._engine.global_steps}")

    @contextmanager
    def _writable_weights(self) -> Iterator[Mapping[str, Tensor]]:
        """Local weights; at stage 3 no gathered copy of a small parameter outlives a change of its shard."""
        if self._stage == 3:
            self._engine.optimizer.checkpoint_event_prologue()
        yield local_weights(self.module)
        if self._stage == 3:
            self._engine.optimizer.checkpoint_event_epilogue()


def _forget_rehearsal(optimizer: Any) -> None:
    """At stage 0 in bf16 DeepSpeed makes a step with zero gradients at start, which Adam's bias correction counts."""
    for state in getattr(optimizer, "optimizer", optimizer).state.values():
        if "step" in state:
            state["step"].zero_()


def _join_process_group() -> None:
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed insists on it
    if dist.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)


def _own_device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def _unpadded_shard(weight: Any) -> Tensor:
    """ZeRO-3 pads the last shards of a parameter with arbitrary values."""
    shard: Tensor = weight.ds_tensor
    valid = weight.ds_numel - dist.get_rank() * shard.numel()
    return shard[: max(valid, 0)]
