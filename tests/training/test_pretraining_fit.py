"""The loop of the stages that train from nothing refuses what it cannot continue."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.run import pretrain
from ladd_ray.training.pretraining.settings import OptimizerName, PretrainConfig, StageSettings


class Blocks(nn.Module):
    """A matrix inside numbered blocks, which is what Muon takes."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])


def train(directory: Path, optimizer: OptimizerName, *, steps: int) -> nn.Module:
    torch.manual_seed(0)
    module = Blocks()
    settings = StageSettings(steps=steps, optimizer=optimizer, lr_warmup_steps=1, ema_decay=0.0)
    return fit(
        module,
        lambda: (module.blocks[0](torch.ones(1, 4)).square().mean(), {}),
        name="tiny",
        settings=settings,
        directory=directory,
        seed=0,
        checkpoint_every_s=1e9,
    )


def test_another_optimizer_does_not_continue_a_stage(tmp_path: Path) -> None:
    train(tmp_path, "muon", steps=1)
    with pytest.raises(ValueError, match="another optimizer"):
        train(tmp_path, "adamw", steps=2)


def test_a_finished_stage_gives_the_same_weights_again(tmp_path: Path) -> None:
    first, again = (train(tmp_path, "muon", steps=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot write to"):
        pretrain(PretrainConfig(directory=str(tmp_path / "file" / "below"), threads=1))
