"""The distributed engine against the single-device one: two gloo processes, all ZeRO stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine import gan
from tests.engine.conftest import local_gan
from tests.engine.gan import Losses

pytestmark = pytest.mark.slow

Seen = dict[str, list[dict[Any, Any]]]
STAGES = [0, 1, 2, 3]
VARIANTS = [*STAGES, "no_persistence"]


def assert_losses(losses: list[Losses], expected: list[Losses], *, first: float = 1e-6, all_: float = 1e-4) -> None:
    for name in ("heads", "student"):
        ours = [getattr(loss, name) for loss in losses]
        theirs = [getattr(loss, name) for loss in expected]
        assert ours[0] == pytest.approx(theirs[0], rel=first)
        assert ours == pytest.approx(theirs, rel=all_)


def assert_weights(ours: dict[str, Tensor], theirs: dict[str, Tensor], *, atol: float = 0.0) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=atol, msg=name)


def rank_0(seen: Seen, scenario: str, *key: Any) -> Any:
    return seen[scenario][0][key]


@pytest.mark.parametrize("stage", VARIANTS)
def test_every_stage_trains_like_one_device(seen: Seen, reference: list[Losses], stage: object) -> None:
    assert_losses(rank_0(seen, "pair", "unbroken", stage)["losses"], reference)


@pytest.mark.parametrize("stage", STAGES)
def test_a_sharded_teacher_changes_nothing(seen: Seen, reference: list[Losses], stage: int) -> None:
    assert_losses(rank_0(seen, "pair", "sharded_teacher", stage), reference)


@pytest.mark.parametrize("stage", STAGES)
def test_accumulation_is_like_on_one_device(seen: Seen, stage: int) -> None:
    expected = gan.train(local_gan(accumulation=2), range(6))
    assert_losses(rank_0(seen, "pair", "accumulated", stage), expected)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_exact_r1_is_like_on_one_device(seen: Seen, stage: int) -> None:
    expected = gan.train(local_gan(accumulation=2, penalty=gan.PENALTY), range(6))
    assert_losses(rank_0(seen, "pair", "penalised", stage), expected)


@pytest.mark.parametrize("stage", VARIANTS)
def test_a_turn_leaves_no_gradient_in_the_other_networks(seen: Seen, stage: object) -> None:
    for rank in seen["pair"]:
        assert rank["unbroken", stage]["leaks"] == []


@pytest.mark.parametrize("stage", VARIANTS)
def test_full_weights_and_moving_average_are_those_of_one_device(seen: Seen, stage: object) -> None:
    toy = local_gan()
    gan.train(toy, range(10))
    end = rank_0(seen, "pair", "unbroken", stage)["end"]
    assert_weights(end["student"], dict(toy.student.full_state_dict()), atol=2e-5)
    assert_weights(end["heads"], dict(toy.heads.full_state_dict()), atol=2e-5)
    assert_weights(end["ema"], dict(toy.student.full_state_dict(ema=True)), atol=2e-5)


@pytest.mark.parametrize("stage", VARIANTS)
def test_only_rank_0_gets_the_weights_and_all_agree_on_the_checksum(seen: Seen, stage: object) -> None:
    first, second = (rank["unbroken", stage] for rank in seen["pair"])
    assert second["end"]["student"] == second["end"]["ema"] == {}
    assert first["end"]["checksum"] == second["end"]["checksum"] != first["middle"]["checksum"]


@pytest.mark.parametrize("stage", VARIANTS)
def test_a_resumed_run_equals_the_unbroken_one(seen: Seen, stage: object) -> None:
    run = rank_0(seen, "pair", "unbroken", stage)
    for name in ("student", "ema", "heads"):
        assert_weights(run["restored"][name], run["middle"][name])
        assert_weights(run["resumed_end"][name], run["end"][name], atol=1e-7)
    assert_losses(run["resumed_losses"], run["losses"][5:], first=1e-7, all_=1e-7)


@pytest.mark.parametrize(
    ("scenario", "saved_by", "stage"),
    [("pair", "single_first", stage) for stage in gan.RESIZED["pair"]]
    + [("single_last", "pair", stage) for stage in gan.RESIZED["single_last"]],
)
def test_a_run_goes_on_with_another_number_of_ranks(
    seen: Seen, reference: list[Losses], scenario: str, saved_by: str, stage: int
) -> None:
    resized, saved = rank_0(seen, scenario, "resized", stage), rank_0(seen, saved_by, "unbroken", stage)
    for name in ("student", "ema", "heads"):
        assert_weights(resized["restored"][name], saved["middle"][name])
        assert_weights(resized["end"][name], saved["end"][name], atol=2e-5)
    assert_losses(resized["losses"], reference[5:], first=1e-4)
    assert resized["leftovers"] == []


@pytest.mark.parametrize("stage", VARIANTS)
def test_the_moving_average_is_swapped_in_and_out(seen: Seen, reference: list[Losses], stage: object) -> None:
    swap = rank_0(seen, "pair", "swap", stage)
    averaged = gan.Student()
    averaged.load_state_dict(rank_0(seen, "pair", "unbroken", stage)["middle"]["ema"])
    _, noise = gan.batch(99, rank=0, world_size=1, micro_step=0, accumulation=1)
    torch.testing.assert_close(swap["drawn"], averaged(noise).detach(), rtol=1e-5, atol=1e-6)
    assert swap["inside"] != swap["before"] == swap["after"]
    assert_losses(swap["losses"], reference[5:], first=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_a_loss_that_is_not_finite_stops_all_ranks(seen: Seen, stage: int) -> None:
    assert [rank["non_finite", stage] for rank in seen["pair"]] == ["loss is nan on rank 1 at step 2"] * 2


@pytest.mark.parametrize("stage", STAGES)
def test_a_gradient_that_is_not_finite_stops_all_ranks(seen: Seen, stage: int) -> None:
    messages = [rank["non_finite_gradient", stage] for rank in seen["pair"]]
    assert messages == [f"gradient norm is not finite at step 0 on rank {rank}" for rank in range(2)]


def test_another_zero_stage_is_refused(seen: Seen) -> None:
    for rank in seen["pair"]:
        assert "saved with zero_stage = 1, not 2" in rank["wrong_stage"]


def test_values_travel_between_ranks(seen: Seen) -> None:
    for rank in seen["pair"]:
        assert rank["mean"] == {"rank": 0.5, "one": 1.0}
        assert rank["gathered"] == [{"rank": 0}, {"rank": 1}]


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_trains_and_resumes(seen: Seen, stage: int) -> None:
    run = rank_0(seen, "pair", "bf16", stage)
    expected = gan.train(local_gan(precision="bf16"), range(10))
    assert_losses(run["losses"], expected, first=1e-2, all_=5e-2)
    assert {weight.dtype for name, weight in run["end"]["student"].items() if name != "scale"} == {torch.bfloat16}
    assert_weights(run["restored"]["student"], run["middle"]["student"])
    assert_weights(run["resumed_end"]["student"], run["end"]["student"])
    assert_weights(run["resumed_end"]["ema"], run["end"]["ema"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", STAGES)
def test_deepspeed_understands_the_configuration(seen: Seen, stage: int, precision: str) -> None:
    assert rank_0(seen, "single_first", "config", stage, precision) == {
        "stage": stage,
        "clipping": 0.5,
        "bf16": precision == "bf16",
        "offloads": stage > 0,
        "batch": 6,
    }
