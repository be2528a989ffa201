"""A network's shards on disk: DeepSpeed's files, the moving average beside them, and who saved them.

File names of different ranks never collide, so the directories of all ranks can be merged into one.
Engines come in as arguments: deepspeed is not imported here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ladd_ray.engine.ema import MovingAverage, reshard
from ladd_ray.engine.universal import universal_checkpoint
from ladd_ray.engine.weights import frozen_names

TAG = "shards"
SAVED_BY = "saved_by.json"


def save_shards(engine: Any, directory: Path, *, zero_stage: int, ema: MovingAverage | None) -> None:
    """Writes this rank's files of a DeepSpeed engine; collective."""
    within_accumulation = engine.micro_steps % engine.gradient_accumulation_steps()
    assert not within_accumulation, "save between optimizer steps, not inside one"
    directory.mkdir(parents=True, exist_ok=True)
    engine.save_checkpoint(str(directory), tag=TAG, exclude_frozen_parameters=True)
    rank = dist.get_rank()
    if ema is not None and (rank == 0 or zero_stage == 3):
        torch.save(ema.state_dict(), directory / _ema_name(rank))
    if rank == 0:
        saved_by = {"world_size": dist.get_world_size(), "zero_stage": zero_stage}
        (directory / SAVED_BY).write_text(json.dumps(saved_by))


def load_shards(engine: Any, directory: Path, *, zero_stage: int, ema: MovingAverage | None) -> None:
    """Restores the files of all ranks into a fresh engine, whatever number of ranks saved them; collective.

    Raises:
        ValueError: they were saved at another ZeRO stage.
    """
    saved_by = json.loads((directory / SAVED_BY).read_text())
    if saved_by["zero_stage"] != zero_stage:
        was = saved_by["zero_stage"]
        raise ValueError(f"{directory} was saved with zero_stage = {was}, not {zero_stage}: set it back")
    if zero_stage == 0 or saved_by["world_size"] == dist.get_world_size():
        _load_engine(engine, directory)
    else:
        _load_resized(engine, directory)
    if ema is not None and zero_stage == 3:
        ema.load_state_dict(_read_ema_shard(engine, directory, saved_by["world_size"]))
    elif ema is not None:
        ema.load_state_dict(_load_tensors(directory / _ema_name(0)))


def _load_engine(engine: Any, directory: Path) -> None:
    # Frozen weights are not in there: whoever built the network has put them in place.
    complete = not frozen_names(engine.module)
    path, _ = engine.load_checkpoint(str(directory), tag=TAG, load_module_strict=complete)
    if path is None:
        raise ValueError(f"DeepSpeed found no checkpoint in {directory / TAG}: use an older checkpoint")


def _load_resized(engine: Any, directory: Path) -> None:
    with universal_checkpoint(directory, TAG) as converted:
        # Otherwise a key of the configuration, fixed before anybody knows who saved the checkpoint.
        engine._config.load_universal_checkpoint = True
        _load_engine(engine, converted)
        engine._config.load_universal_checkpoint = False


def _read_ema_shard(engine: Any, directory: Path, saved_world_size: int) -> dict[str, Any]:
    rank, world_size = dist.get_rank(), dist.get_world_size()
    if saved_world_size == world_size:
        return _load_tensors(directory / _ema_name(rank))
    states = [_load_tensors(directory / _ema_name(saved)) for saved in range(saved_world_size)]
    shadows = {}
    for name, weight in engine.module.named_parameters():
        shards = [state["shadows"][name] for state in states]
        shadows[name] = reshard(shards, numel=weight.ds_numel, rank=rank, world_size=world_size)
    return {"num_updates": states[0]["num_updates"], "shadows": shadows}


def _ema_name(rank: int) -> str:
    return f"ema_rank_{rank:05d}.pt"


def _load_tensors(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state
