"""Guidance knobs of a network: silent at start, felt after training, exact when folded.

Shape legend: b batch, p pooled width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.tasks import edit_channels, inpaint_channels
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features
from ladd_ray.models.strengths import Knob, Knobs, StrengthEmbedding, Strengths, fold_strengths
from ladd_ray.models.widening import fold_generation, widen
from tests.models.test_sd3 import make_inputs, make_transformer

POOLED = 20
KNOBS = Knobs(text=Knob(1.0, 6.0, 3.0), image=Knob(1.0, 2.5, 1.5))
PAIRS = torch.tensor([[1.0, 1.0], [6.0, 2.5]])


def trained_embedding(seed: int = 0) -> StrengthEmbedding:
    """As after training: the last layer is no longer zero."""
    embedding = StrengthEmbedding(POOLED, knobs=KNOBS)
    generator = torch.Generator().manual_seed(seed)
    torch.nn.init.normal_(embedding.output.weight, std=0.3, generator=generator)
    torch.nn.init.normal_(embedding.output.bias, std=0.3, generator=generator)
    return embedding


def wide_student() -> SD3Denoiser:
    torch.manual_seed(3)
    transformer = widen(make_transformer())
    torch.nn.init.normal_(transformer.pos_embed.proj.weight, std=0.2)
    return SD3Denoiser(transformer, strengths=trained_embedding())


def sources() -> dict[str, Tensor | None]:
    picture, mask = torch.randn(2, 16, 8, 8), torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:5] = 1
    return {"generate": None, "edit": edit_channels(picture), "inpaint": inpaint_channels(picture, mask)}


@torch.no_grad()
def test_a_new_embedding_changes_nothing() -> None:
    transformer, inputs = make_transformer(), make_inputs(8, 8)
    student = SD3Denoiser(transformer, strengths=StrengthEmbedding(POOLED, knobs=KNOBS))
    assert torch.equal(student(*inputs, None, PAIRS), SD3Denoiser(transformer)(*inputs))


@torch.no_grad()
def test_each_knob_moves_only_its_row() -> None:
    student, inputs = SD3Denoiser(make_transformer(), strengths=trained_embedding()), make_inputs(8, 8)
    base = student(*inputs, None, PAIRS)
    for knob in (0, 1):
        turned = PAIRS.clone()
        turned[1, knob] = 2.0
        moved = (student(*inputs, None, turned) - base).abs().amax(dim=(1, 2, 3))
        assert moved[0] == 0
        assert moved[1] > 1e-4


@torch.no_grad()
def test_rows_that_say_nothing_take_the_defaults() -> None:
    student, inputs = wide_student(), make_inputs(8, 8)
    for task, channels in sources().items():
        told = student(*inputs, channels, torch.tensor([[3.0, 1.5]] * 2))
        assert torch.equal(student(*inputs, channels), told), task


@torch.no_grad()
def test_a_network_without_knobs_pays_no_attention() -> None:
    transformer, inputs = make_transformer(), make_inputs(8, 8)
    for network in (SD3Denoiser(transformer), SD3Features(transformer)):
        first, second = (torch.stack([*network(*inputs, None, told)]) for told in (None, PAIRS))
        assert torch.equal(first, second)


@pytest.mark.parametrize("strengths", [Strengths(1.0, 1.0), Strengths(4.5, 2.2)])
@torch.no_grad()
def test_fixed_strengths_fold_exactly(strengths: Strengths) -> None:
    student, inputs = wide_student().double(), [tensor.double() for tensor in make_inputs(8, 8)]
    given = {task: None if channels is None else channels.double() for task, channels in sources().items()}
    answers = {task: student(*inputs, channels, strengths.rows(2)) for task, channels in given.items()}
    untold = SD3Denoiser(student.transformer)(*inputs)
    assert (untold - answers["generate"]).abs().max() > 1e-3

    assert student.strengths is not None
    fold_strengths(student.transformer, student.strengths, strengths=strengths)
    stock = SD3Denoiser(student.transformer)
    for task, channels in given.items():
        torch.testing.assert_close(stock(*inputs, channels), answers[task], rtol=0, atol=1e-12)


@torch.no_grad()
def test_both_folds_commute() -> None:
    setting, folded = Strengths(2.0, 1.0), []
    for generation_first in (True, False):
        student = wide_student()
        transformer = student.transformer
        assert student.strengths is not None
        if generation_first:
            transformer = fold_generation(transformer)
        fold_strengths(transformer, student.strengths, strengths=setting)
        folded.append(transformer if generation_first else fold_generation(transformer))
    first, second = (transformer.state_dict() for transformer in folded)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_training_reaches_the_embedding() -> None:
    embedding = StrengthEmbedding(POOLED, knobs=KNOBS)
    student, inputs = SD3Denoiser(make_transformer(), strengths=embedding), make_inputs(8, 8)
    student(*inputs, None, PAIRS).square().mean().backward()
    assert embedding.output.weight.grad is not None and embedding.output.weight.grad.abs().sum() > 0
    assert {name.split(".")[0] for name in student.state_dict()} == {"transformer", "strengths"}


def test_picking_keeps_to_the_trained_range() -> None:
    assert KNOBS.pick(text=2, image=2.5) == (2.0, 2.5)
    assert KNOBS.pick(text=6.0) == (6.0, 1.5)
    assert KNOBS.pick() == (3.0, 1.5)
    with pytest.raises(ValueError, match=r"text_guidance = 6\.1 lies outside of 1\.\.6"):
        KNOBS.pick(text=6.1)
    with pytest.raises(ValueError, match=r"image_guidance = 0\.5 lies outside of 1\.\.2\.5"):
        KNOBS.pick(image=0.5)
    with pytest.raises(ValueError, match=r"default 7 must lie within 1\.\.6"):
        Knob(1, 6, 7)
