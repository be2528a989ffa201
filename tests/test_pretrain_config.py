"""The configuration of continued training: what fits, what is refused, and that names change it like any other."""

from __future__ import annotations

import pytest

from ladd_ray.config import override, to_json
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.recipes import TASK_RECIPES, sd3_medium_tasks


@pytest.mark.parametrize("name", TASK_RECIPES)
def test_recipe_builds_and_says_what_it_needs(name: str) -> None:
    config = TASK_RECIPES[name]()
    assert config.recipe == name
    assert config == FinetuneConfig.model_validate_json(to_json(config))
    assert "Hardware:" in (TASK_RECIPES[name].__doc__ or "")


def test_override_keeps_the_kind_of_the_configuration() -> None:
    config = override(FinetuneConfig(), {"data.tasks.edit": 0.5, "data.buckets": [[64, 64], [32, 96]]})
    assert isinstance(config, FinetuneConfig)
    assert config.data.tasks.edit == 0.5
    assert config.data.buckets == ((64, 64), (32, 96))
    with pytest.raises(ValueError, match=r"unknown setting 'data\.tasks\.paint'; known here: edit, generate, inpaint"):
        override(FinetuneConfig(), {"data.tasks.paint": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.three_tasks": False}, "only generates"),
        ({"data.tasks.generate": 0, "data.tasks.edit": 0, "data.tasks.inpaint": 0}, "give at least one task a share"),
        ({"data.buckets": []}, "must be distinct sizes"),
        ({"data.buckets": [[64, 64], [64, 64]]}, "must be distinct sizes"),
        ({"data.buckets": [[64, 72]]}, "in multiples of 16 pixels"),
        ({"data.num_rows": 10}, "does not fill one global batch"),
        ({"dropout.both": 0.95}, "must not exceed 1"),
        ({"optimizer.precision": "bf16", "optimizer.autocast": True}, "is for fp32 weights"),
        ({"run.global_batch_size": 97}, "cannot be shared out evenly"),
        ({"run.engine": "local", "run.num_workers": 2}, "runs on one device"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(FinetuneConfig(), changes)


def test_the_large_recipe_shares_its_batch_out() -> None:
    assert sd3_medium_tasks().run.micro_batch_size == 16
