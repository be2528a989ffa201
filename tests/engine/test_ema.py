"""Moving average and resharding."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from ladd_ray.engine.ema import MovingAverage, reshard


def test_the_average_of_constant_weights_is_reached_soon_and_kept() -> None:
    weights = {"w": torch.zeros(3)}
    average = MovingAverage(weights, decay=0.99)
    for _ in range(30):
        average.update({"w": torch.ones(3)})
    assert average.shadows["w"].min() > 0.999


def test_warm_up_gives_way_to_the_decay() -> None:
    average = MovingAverage({"w": torch.zeros(1, dtype=torch.float64)}, decay=0.5)
    expected = 0.0
    for update in range(20):
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
        average.update({"w": torch.full((1,), float(update))})
    assert average.shadows["w"].item() == pytest.approx(expected, rel=1e-5)


def test_it_counts_in_fp32_where_bf16_would_stand_still() -> None:
    average = MovingAverage({"w": torch.ones(1, dtype=torch.bfloat16)}, decay=0.999)
    average.num_updates = 100_000
    average.update({"w": torch.full((1,), 1.0078125, dtype=torch.bfloat16)})
    assert average.shadows["w"].dtype == torch.float32
    assert 1.0 < average.shadows["w"].item() < 1.0078125


def test_an_error_inside_the_swap_still_restores_the_weights() -> None:
    weights = {"w": torch.zeros(2)}
    average = MovingAverage({"w": torch.ones(2)}, decay=0.9)
    seen: list[float] = []

    def fails() -> None:
        with average.swapped(lambda: nullcontext(weights)):
            seen.extend(weights["w"].tolist())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == [1, 1]
    assert weights["w"].tolist() == [0, 0]


def test_the_average_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"another network.*'v', 'w'"):
        MovingAverage({"w": torch.ones(1)}, 0.9).load_state_dict({"num_updates": 1, "shadows": {"v": torch.ones(1)}})


@pytest.mark.parametrize("saved", [1, 2, 3, 5])
@pytest.mark.parametrize("wanted", [1, 2, 4, 7])
def test_reshards_meet_again(saved: int, wanted: int) -> None:
    whole = torch.arange(1.0, 8.0)
    old = [reshard([whole], numel=7, rank=rank, world_size=saved) for rank in range(saved)]
    new = [reshard(old, numel=7, rank=rank, world_size=wanted) for rank in range(wanted)]
    assert len({shard.numel() for shard in new}) == 1
    assert torch.equal(torch.cat(new)[:7], whole)
