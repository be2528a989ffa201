"""One rank of the distributed tests: ``python -m tests.engine.worker SCENARIO DIRECTORY``.

Runs whatever needs a process group and writes what it saw to ``DIRECTORY/SCENARIO_RANK.pt``; the tests judge.
Processes are few and checks are many, because each process pays for the import of deepspeed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ladd_ray.engine import zero
from ladd_ray.engine.zero import ZeroEngine
from tests.engine import gan
from tests.engine.gan import Gan

FIRST_HALF, SECOND_HALF = range(5), range(5, 10)
PRECISIONS = ("fp32", "bf16")


def build(
    stage: int,
    *,
    heads_stage: int | None = None,
    sharded: bool = False,
    accumulation: int = 1,
    precision: str = "fp32",
    penalty: float = 0.0,
) -> Gan:
    """The toy at one ZeRO stage."""
    engine = ZeroEngine(total_steps=gan.TOTAL_STEPS, micro_batch_size=2, gradient_accumulation_steps=accumulation)
    return gan.build(
        engine,
        student=gan.STUDENT.model_copy(update={"zero_stage": stage, "precision": precision}),
        heads=gan.HEADS.model_copy(update={"zero_stage": stage if heads_stage is None else heads_stage}),
        sharded_teacher=sharded,
        accumulation=accumulation,
        penalty=penalty,
    )


def state(toy: Gan) -> dict[str, Any]:
    """All that a resumed run has to agree on."""
    return {
        "student": dict(toy.student.full_state_dict()),
        "ema": dict(toy.student.full_state_dict(ema=True)),
        "heads": dict(toy.heads.full_state_dict()),
        "checksum": toy.student.checksum(),
    }


class LeakProbe:
    """Records gradients that a turn left where they do not belong."""

    def __init__(self) -> None:
        self.leaks: list[str] = []

    def __call__(self, turn: str, toy: Gan) -> None:
        other = toy.heads.module if turn == "student" else toy.student.module
        for name, module in (("other", other), ("teacher", toy.teacher)):
            self.leaks += [f"{turn} -> {name}.{weight}" for weight in leaked(module)]


def leaked(module: nn.Module) -> list[str]:
    """Names of weights with a gradient that is not zero."""
    gradients = {name: weight.grad for name, weight in module.named_parameters()}
    return [name for name, gradient in gradients.items() if gradient is not None and gradient.any()]


def save_merged(toy: Gan, directory: Path) -> None:
    """Every rank saves into a folder of its own; then they are merged, as Ray Train does."""
    own = directory.with_name(f"{directory.name}_rank{toy.engine.rank}")
    toy.student.save(own / "student")
    toy.heads.save(own / "heads")
    toy.engine.barrier()
    if toy.engine.rank == 0:
        for rank in range(toy.engine.world_size):
            shutil.copytree(directory.with_name(f"{directory.name}_rank{rank}"), directory, dirs_exist_ok=True)
    toy.engine.barrier()


def load(toy: Gan, directory: Path) -> Gan:
    toy.student.load(directory / "student")
    toy.heads.load(directory / "heads")
    return toy


def unbroken(stage: int, directory: Path, *, precision: str = "fp32") -> dict[str, Any]:
    """A run with a checkpoint in its middle; then its second half again from that checkpoint."""
    probe = LeakProbe()
    toy = build(stage, heads_stage=0, precision=precision)
    losses = gan.train(toy, FIRST_HALF, after_turn=probe)
    save_merged(toy, directory / f"stage{stage}")
    middle = state(toy)
    losses += gan.train(toy, SECOND_HALF, after_turn=probe)
    end = state(toy)
    resumed = load(build(stage, heads_stage=0, precision=precision), directory / f"stage{stage}")
    restored = state(resumed)
    resumed_losses = gan.train(resumed, SECOND_HALF)
    return {
        "losses": losses,
        "leaks": probe.leaks,
        "middle": middle,
        "end": end,
        "restored": restored,
        "resumed_losses": resumed_losses,
        "resumed_end": state(resumed),
    }


def sharded_teacher(stage: int) -> list[gan.Losses]:
    """Teacher in shards, heads replicated."""
    return gan.train(build(stage, heads_stage=0, sharded=True), range(10))


def swap(stage: int) -> dict[str, Any]:
    """The moving average in and out again, in the middle of a run."""
    toy = build(stage)
    gan.train(toy, FIRST_HALF)
    _, noise = gan.batch(99, rank=0, world_size=1, micro_step=0, accumulation=1)
    before = toy.student.checksum()
    with toy.student.ema_weights() as averaged, torch.no_grad():
        drawn, inside = averaged(noise), toy.student.checksum()
    after = toy.student.checksum()
    losses = gan.train(toy, SECOND_HALF)
    return {"before": before, "inside": inside, "after": after, "drawn": drawn, "losses": losses}


def non_finite(stage: int) -> str:
    """Only rank 1 has a bad loss; the message that this rank gets."""
    toy = build(stage)
    gan.train(toy, range(2))
    _, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    loss = toy.student(noise).mean() * (float("nan") if toy.engine.rank == 1 else 1.0)
    try:
        toy.student.update(loss)
    except FloatingPointError as error:
        return str(error)
    return "nothing was raised"


def non_finite_gradient(stage: int) -> str:
    """A finite loss whose gradient is not: the square root at 0."""
    toy = build(stage)
    _, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    drawn = toy.student(noise)
    try:
        toy.student.update((drawn - drawn.detach()).sqrt().sum())
    except FloatingPointError as error:
        return str(error)
    return "nothing was raised"


def wrong_stage(directory: Path) -> str:
    """A checkpoint of stage 1 in a network of stage 2."""
    try:
        build(2).student.load(directory / "stage1" / "student")
    except ValueError as error:
        return str(error)
    return "nothing was raised"


def resized(stage: int, directory: Path) -> dict[str, Any]:
    """Goes on from a checkpoint that another number of ranks saved."""
    toy = load(build(stage, heads_stage=0), directory / f"stage{stage}")
    restored = state(toy)
    losses = gan.train(toy, SECOND_HALF)
    leftovers = [path.name for path in directory.rglob("universal_*")]
    return {"restored": restored, "losses": losses, "end": state(toy), "leftovers": leftovers}


def parsed_config(stage: int, precision: str) -> dict[str, Any]:
    """What DeepSpeed makes of our configuration."""
    settings = gan.STUDENT.model_copy(
        update={"zero_stage": stage, "precision": precision, "offload_optimizer": stage > 0}
    )
    ours = zero.deepspeed_config(settings, micro_batch_size=3, gradient_accumulation_steps=2, world_size=1)
    parsed = zero.deepspeed.DeepSpeedConfig(ours)
    return {
        "stage": int(parsed.zero_config.stage),
        "clipping": parsed.gradient_clipping,
        "bf16": parsed.bfloat16_config.enabled,
        "offloads": parsed.zero_config.offload_optimizer is not None,
        "batch": parsed.train_batch_size,
    }


def single_first(directory: Path) -> dict[str, Any]:
    engine = ZeroEngine(total_steps=1, micro_batch_size=1)
    assert engine.world_size == 1
    configs = {("config", stage, kind): parsed_config(stage, kind) for stage in range(4) for kind in PRECISIONS}
    return configs | {("unbroken", stage): unbroken(stage, directory / "one") for stage in gan.RESIZED["pair"]}


def pair(directory: Path) -> dict[str, Any]:
    engine = ZeroEngine(total_steps=1, micro_batch_size=1)
    seen: dict[Any, Any] = {
        "mean": engine.mean({"rank": float(engine.rank), "one": 1.0}),
        "gathered": engine.gather_objects({"rank": engine.rank}),
    }
    for stage in range(4):
        seen["unbroken", stage] = unbroken(stage, directory / "two")
        seen["swap", stage] = swap(stage)
        seen["accumulated", stage] = gan.train(build(stage, sharded=stage == 3, accumulation=2), range(6))
        seen["bf16", stage] = unbroken(stage, directory / "two_bf16", precision="bf16")
        seen["sharded_teacher", stage] = sharded_teacher(stage)
        seen["non_finite", stage] = non_finite(stage)
        seen["non_finite_gradient", stage] = non_finite_gradient(stage)
    for stage in range(3):
        seen["penalised", stage] = gan.train(build(stage, accumulation=2, penalty=gan.PENALTY), range(6))
    seen["wrong_stage"] = wrong_stage(directory / "two")
    for stage in gan.RESIZED["pair"]:
        seen["resized", stage] = resized(stage, directory / "one")
    with_small_shards()
    seen["unbroken", "no_persistence"] = unbroken(3, directory / "two_no_persistence")
    seen["swap", "no_persistence"] = swap(3)
    return seen


def with_small_shards() -> None:
    """From now on stage 3 shards even small weights, which it keeps gathered by default."""
    ordinary = zero.deepspeed_config

    def sharding_all(*positional: Any, **named: Any) -> dict[str, Any]:
        config = ordinary(*positional, **named)
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return config

    zero.deepspeed_config = sharding_all


def single_last(directory: Path) -> dict[str, Any]:
    return {("resized", stage): resized(stage, directory / "two") for stage in gan.RESIZED["single_last"]}


def main() -> None:
    torch.set_num_threads(1)
    scenario, directory = sys.argv[1], Path(sys.argv[2])
    seen = {"single_first": single_first, "pair": pair, "single_last": single_last}[scenario](directory)
    torch.save(seen, directory / f"{scenario}_{torch.distributed.get_rank()}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
