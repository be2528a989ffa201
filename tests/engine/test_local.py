"""The single-device engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ladd_ray.engine.local import FILE_NAME, LocalEngine
from ladd_ray.interfaces import Engine
from tests.engine import gan
from tests.engine.conftest import local_gan


def test_heads_learn_to_tell_real_from_drawn() -> None:
    toy = local_gan()
    real, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    losses = [gan.heads_turn(toy, real, noise)[0].item() for _ in range(12)]
    assert losses[-1] < 0.95 * losses[0]


def test_one_step_is_adamw_on_clipped_gradients() -> None:
    toy = local_gan()
    twin = gan.Student()
    twin.load_state_dict(toy.student.full_state_dict())
    _, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    update = toy.student.update(toy.student(noise).square().sum())
    twin(noise).square().sum().backward()
    norm = nn.utils.clip_grad_norm_(twin.parameters(), gan.STUDENT.gradient_clipping)
    lr = gan.STUDENT.lr / gan.STUDENT.lr_warmup_steps
    torch.optim.AdamW(twin.parameters(), lr=lr, betas=(0.0, 0.99), weight_decay=0.0).step()
    assert (update.gradient_norm, update.lr) == pytest.approx((norm.item(), lr))
    for name, weight in toy.student.full_state_dict().items():
        torch.testing.assert_close(weight, twin.state_dict()[name])


def test_accumulation_equals_one_large_batch() -> None:
    whole, parts = local_gan(), local_gan(accumulation=2)
    _, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    whole.student.update(whole.student(noise).square().mean())
    updates = [parts.student.update(parts.student(part).square().mean()) for part in noise.chunk(2)]
    assert [update.stepped for update in updates] == [False, True]
    for name, weight in whole.student.full_state_dict().items():
        torch.testing.assert_close(parts.student.full_state_dict()[name], weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_equals_the_unbroken_one(tmp_path: Path, precision: str) -> None:
    unbroken, resumed = local_gan(precision=precision), local_gan(precision=precision)
    gan.train(unbroken, range(5))
    for name in ("student", "heads"):
        getattr(unbroken, name).save(tmp_path / name)
        getattr(resumed, name).load(tmp_path / name)
    losses = gan.train(unbroken, range(5, 10))
    assert gan.train(resumed, range(5, 10)) == losses
    averages = [toy.student.full_state_dict(ema=True) for toy in (unbroken, resumed)]
    assert all(torch.equal(weight, averages[1][name]) for name, weight in averages[0].items())
    assert torch.load(tmp_path / "student" / FILE_NAME, weights_only=True)["micro_step"] == 5


def test_bf16_keeps_fp32_masters() -> None:
    toy = local_gan(precision="bf16")
    start = toy.student.checksum()
    assert toy.student.module.out.weight.dtype == torch.bfloat16
    gan.train(toy, range(10))
    expected = local_gan()
    gan.train(expected, range(10))
    for name, weight in expected.student.full_state_dict().items():
        torch.testing.assert_close(toy.student.full_state_dict()[name].float(), weight, atol=2e-2, rtol=2e-2)
    assert toy.student.checksum() != start


def test_turns_leave_no_gradient_elsewhere() -> None:
    toy = local_gan()
    _, noise = gan.batch(0, rank=0, world_size=1, micro_step=0, accumulation=1)
    gan.student_turn(toy, noise)
    others = [*toy.heads.module.parameters(), *toy.teacher.parameters()]
    assert all(weight.grad is None for weight in others)
    assert all(weight.requires_grad for weight in toy.heads.module.parameters())


def test_frozen_restores_what_was_trainable_before() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    network = LocalEngine("cpu", total_steps=1).prepare(module, gan.HEADS)
    with network.frozen() as bare:
        assert not any(weight.requires_grad for weight in bare.parameters())
    assert [weight.requires_grad for weight in module.parameters()] == [True, False]


def test_the_moving_average_comes_and_goes() -> None:
    toy = local_gan()
    gan.train(toy, range(5))
    average, before = toy.student.full_state_dict(ema=True), toy.student.checksum()
    with toy.student.ema_weights() as module:
        assert all(torch.equal(weight, average[name]) for name, weight in module.state_dict().items())
        assert toy.student.checksum() != before
    assert toy.student.checksum() == before


def test_without_a_moving_average_the_weights_stand_in() -> None:
    toy = local_gan()
    gan.train(toy, range(2))
    weights, average = toy.heads.full_state_dict(), toy.heads.full_state_dict(ema=True)
    assert all(torch.equal(weight, average[name]) for name, weight in weights.items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(bad: float) -> None:
    toy = local_gan()
    gan.train(toy, range(2))
    with pytest.raises(FloatingPointError, match=f"loss is {bad} at step 2 on rank 0"):
        toy.student.update(torch.tensor(bad))


def test_gradients_that_are_not_finite_never_reach_the_weights() -> None:
    toy = local_gan()
    before = toy.student.checksum()
    weight = toy.student.module.out.weight
    with pytest.raises(FloatingPointError, match="gradient norm is"):
        toy.student.update((weight - weight.detach()).sqrt().sum())
    assert toy.student.checksum() == before


def test_one_device_cannot_shard() -> None:
    with pytest.raises(ValueError, match="sharded=False, or set"):
        LocalEngine("cpu", total_steps=1).freeze(gan.Teacher(), sharded=True)


def test_it_answers_for_its_one_rank() -> None:
    engine: Engine = LocalEngine("cpu", total_steps=1)
    engine.barrier()
    assert (engine.rank, engine.world_size) == (0, 1)
    assert engine.mean({"loss": 2.0}) == {"loss": 2.0}
    assert engine.gather_objects("here") == ["here"]
