"""Adapters: the bare network never sees them, at the start they change nothing, and merging them changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ladd_ray.config import LoraConfig
from ladd_ray.interfaces import Condition
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.lora import AdaptedLinear, merge_adapters, with_adapters
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features

CONFIG = LoraConfig(rank=4, alpha=8.0)


@pytest.fixture
def base(tiny_folder: Path) -> Any:
    return load_transformer(tiny_folder, precision="fp32")


def inputs(denoiser: SD3Denoiser, rows: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator)

    condition = Condition(gaussian(5, denoiser.prompt_size), gaussian(denoiser.pooled_size))
    return gaussian(16, 8, 8), torch.tensor([0.3, 1.0]), *condition[:2]


def shake(transformer: Any) -> list[AdaptedLinear]:
    """Adapters that do something."""
    torch.manual_seed(1)
    adapters = [module for module in transformer.modules() if isinstance(module, AdaptedLinear)]
    for adapter in adapters:
        torch.nn.init.normal_(adapter.up, std=0.5)
    return adapters


def test_a_fresh_student_draws_what_its_teacher_draws(base: Any) -> None:
    teacher, student = SD3Denoiser(base), SD3Denoiser(with_adapters(base, CONFIG))
    assert torch.equal(teacher(*inputs(teacher)), student(*inputs(teacher)))


def test_the_judge_reads_the_bare_network_whatever_the_adapters_do(base: Any, tiny_folder: Path) -> None:
    student = SD3Denoiser(with_adapters(base, CONFIG))
    judge, untouched = (SD3Features(found) for found in (base, load_transformer(tiny_folder, precision="fp32")))
    before = student(*inputs(student))
    shake(student.transformer)
    assert (student(*inputs(student)) - before).abs().max() > 0.01
    for ours, theirs in zip(judge(*inputs(student)), untouched(*inputs(student)), strict=True):
        assert torch.equal(ours, theirs)
    assert not [module for module in judge.modules() if isinstance(module, AdaptedLinear)]


def test_frozen_weights_are_the_teachers_own(base: Any) -> None:
    adapted = with_adapters(base, CONFIG)
    frozen = {weight.data_ptr() for weight in adapted.parameters() if not weight.requires_grad}
    assert frozen == {weight.data_ptr() for weight in base.parameters()}
    learning = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert learning and all(name.endswith((".up", ".down")) for name in learning)


def test_every_targeted_layer_learns(base: Any) -> None:
    student = SD3Denoiser(with_adapters(base, CONFIG))
    shake(student.transformer)
    student(*inputs(student)).square().mean().backward()
    adapters = {name: module for name, module in student.named_modules() if isinstance(module, AdaptedLinear)}
    # Per block: q, k, v and out for picture and text; the last block has no output for the text.
    assert len(adapters) == 2 * 8 - 1
    idle = {name for name, module in adapters.items() if module.up.grad is None or not module.up.grad.any()}
    # Nobody reads what the text asks for in the last block.
    assert idle == {"transformer.transformer_blocks.1.attn.add_q_proj"}


@pytest.mark.parametrize("config", [CONFIG, LoraConfig(rank=3)], ids=["alpha 8", "alpha = rank"])
def test_merged_weights_draw_the_same(base: Any, tiny_folder: Path, config: LoraConfig) -> None:
    student = SD3Denoiser(with_adapters(base, config))
    shake(student.transformer)
    merged = SD3Denoiser(load_transformer(tiny_folder, precision="fp32"))
    merged.load_state_dict(merge_adapters(student.state_dict(), config))
    assert (merged(*inputs(student)) - student(*inputs(student))).abs().max() < 1e-4


def test_merging_leaves_plain_weights_alone(base: Any) -> None:
    state = SD3Denoiser(base).state_dict()
    merged = merge_adapters(state, LoraConfig())
    assert merged.keys() == state.keys()
    assert all(torch.equal(merged[name], tensor) for name, tensor in state.items())


def test_the_scale_is_alpha_over_rank(base: Any) -> None:
    layer = AdaptedLinear(torch.nn.Linear(3, 2, bias=False), rank=1, scale=2.0)
    with torch.no_grad():
        layer.down.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        layer.up.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.base.weight.zero_()
    assert layer(torch.ones(3)).tolist() == [12.0, -12.0]
    adapted = with_adapters(base, CONFIG)
    assert {module.scale for module in adapted.modules() if isinstance(module, AdaptedLinear)} == {2.0}


def test_unknown_layers_are_refused(base: Any) -> None:
    with pytest.raises(ValueError, match=r"lora.targets \['to_w'\] name no linear layer .*'to_q'"):
        with_adapters(base, LoraConfig(rank=2, targets=("to_q", "to_w")))
