"""Settings of ADD and LCM: what cannot be is refused with the fix in the message."""

from __future__ import annotations

import pytest

from ladd_ray.config import Config, override
from ladd_ray.recipes import stickers, stickers_add, stickers_lcm


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (stickers_lcm, {"lcm.skip": 1001}, r"lcm.skip = 1001 must not exceed"),
        (stickers_lcm, {"lcm.guidance": (5.0, 3.0)}, "the smaller one first"),
        (stickers_lcm, {"lcm.guidance": (0.5, 3.0)}, r"two scales from 1"),
        (stickers_lcm, {"lcm.num_levels": 50}, r"0.75, which is no multiple of 1 / 50"),
        (stickers_lcm, {"lcm.skip": 300}, r"0.25, which is no multiple of 1 / 1000 from 300 / 1000 on"),
        (stickers_add, {"discriminator.r1": "approximate"}, "ADD judges pictures: use exact"),
        (stickers_add, {"discriminator.zero_stage": 3}, r"set discriminator.zero_stage to 2 or less"),
        (stickers_add, {"discriminator.reuse": "none"}, "method = add does not read"),
        (stickers_lcm, {"lora.rank": 4}, "method = lcm does not read"),
    ],
)
def test_what_cannot_be_is_refused(recipe: object, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(recipe(), changes)  # type: ignore[operator]


def test_checks_of_a_baseline_do_not_bind_the_others() -> None:
    config = override(stickers(), {"lcm.num_levels": 50, "discriminator.r1": "approximate"})
    assert isinstance(config, Config)


def test_baselines_differ_from_ladd_in_method_and_not_in_budget() -> None:
    for recipe in (stickers_add, stickers_lcm):
        config, ours = recipe(), stickers()
        assert config.method in recipe.__name__
        assert (config.data, config.evaluation, config.teacher) == (ours.data, ours.evaluation, ours.teacher)
        assert config.run.model_dump(exclude={"name"}) == ours.run.model_dump(exclude={"name"})
        assert config.noise.levels == ours.noise.levels
