"""The continued training on a real Ray cluster: two workers under ZeRO-2 against one device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ladd_ray.config import override
from ladd_ray.models.folder import load_transformer
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.finetuning.launch import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def history(folder: Path) -> list[dict[str, float]]:
    return LocalHistory(folder / "metrics.jsonl").read()


def test_two_workers_train_what_one_device_trains(cluster: None, config: FinetuneConfig) -> None:
    alone = run(config)
    together = run(
        override(
            config,
            {
                "run.name": "together", "run.num_workers": 2, "run.engine": "deepspeed", "optimizer.zero_stage": 2,
                # Encoded anew, by Ray Data.
                "data.encoding_batch_size": 8, "run.directory": str(config.run_directory.parent / "cluster"),
            },
        )
    )  # fmt: skip
    ours, theirs = history(together.path), history(alone.path)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for line, expected in zip(ours, theirs, strict=True):
        names = [name for name in expected if name.startswith(("flow/", "validation/"))]
        assert {name: line[name] for name in names} == pytest.approx({name: expected[name] for name in names}, rel=2e-3)
    weights = load_transformer(together.pipeline, precision="fp32").state_dict()
    for name, tensor in load_transformer(alone.pipeline, precision="fp32").state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-3, msg=name)
