"""DeepSpeed's configuration as a function of ours; that DeepSpeed accepts it is tested with the engine."""

from __future__ import annotations

import pytest

from ladd_ray.engine.zero_config import deepspeed_config, frozen_config
from tests.engine import gan


def test_the_global_batch_counts_ranks_and_accumulation() -> None:
    ours = deepspeed_config(gan.STUDENT, micro_batch_size=3, gradient_accumulation_steps=2, world_size=5)
    assert ours["train_batch_size"] == 30


@pytest.mark.parametrize("clipping", [0.0, 0.5])
def test_clipping_is_never_left_to_deepspeed(clipping: float) -> None:
    settings = gan.HEADS.model_copy(update={"gradient_clipping": clipping})
    ours = deepspeed_config(settings, micro_batch_size=1, gradient_accumulation_steps=1, world_size=1)
    assert ours["gradient_clipping"] == clipping


def test_offloading_needs_shards() -> None:
    settings = gan.STUDENT.model_copy(update={"offload_optimizer": True})
    with pytest.raises(ValueError, match="set zero_stage to 1, 2 or 3"):
        deepspeed_config(settings, micro_batch_size=1, gradient_accumulation_steps=1, world_size=1)


def test_a_frozen_network_is_sharded_without_an_optimizer() -> None:
    ours = frozen_config(micro_batch_size=2, bf16=True)
    assert ours["zero_optimization"] == {"stage": 3}
    assert ours["bf16"] == {"enabled": True}
    assert "optimizer" not in ours
