from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from ladd_ray.interfaces import Condition
from ladd_ray.models.prompt_encoder import PromptEncoder

PROMPTS = ["a red apple left of a banana", "two cat on blue"]


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Path) -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline.from_pretrained(tiny_folder)


@pytest.fixture(scope="module")
def folder_without_t5(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("without_t5") / "pipeline"
    StableDiffusion3Pipeline.from_pretrained(tiny_folder, text_encoder_3=None, tokenizer_3=None).save_pretrained(path)
    return path


def load(path: Path) -> PromptEncoder:
    return PromptEncoder.from_pretrained(path, precision="fp32", device="cpu")


def stock(pipeline: StableDiffusion3Pipeline, prompts: list[str], max_sequence_length: int) -> Condition:
    with torch.no_grad():
        prompt_embeds, _, pooled_prompt_embeds, _ = pipeline.encode_prompt(
            prompts, None, None, do_classifier_free_guidance=False, max_sequence_length=max_sequence_length
        )
    return Condition(prompt_embeds, pooled_prompt_embeds)


def assert_equal(ours: Condition, theirs: Condition) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_encodes_as_the_stock_pipeline_does(tiny_folder: Path, pipeline: StableDiffusion3Pipeline) -> None:
    ours = load(tiny_folder).encode(PROMPTS)
    assert_equal(ours, stock(pipeline, PROMPTS, 1))
    # 12 CLIP tokens and the one that the folder's T5 tokenizer allows.
    assert ours.prompt_embeds.shape == (2, 13, 64)
    assert ours.pooled_prompt_embeds.shape == (2, 64)
    assert not ours.prompt_embeds.requires_grad
    assert not torch.allclose(ours.pooled_prompt_embeds[0], ours.pooled_prompt_embeds[1])


def test_the_empty_prompt_is_the_stock_negative_prompt(tiny_folder: Path, pipeline: StableDiffusion3Pipeline) -> None:
    with torch.no_grad():
        _, negative, _, negative_pooled = pipeline.encode_prompt(PROMPTS[:1], None, None, max_sequence_length=1)
    encoder = load(tiny_folder)
    assert_equal(encoder.encode([""]), Condition(negative, negative_pooled))
    assert_equal(encoder.encode(""), Condition(negative, negative_pooled))


def test_a_missing_t5_adds_no_tokens(
    folder_without_t5: Path, tiny_folder: Path, pipeline: StableDiffusion3Pipeline
) -> None:
    ours = load(folder_without_t5).encode(PROMPTS)
    whole = stock(pipeline, PROMPTS, 1)
    assert_equal(ours, Condition(whole.prompt_embeds[:, :12], whole.pooled_prompt_embeds))


def test_fewer_t5_tokens_can_be_asked_for(tiny_folder: Path) -> None:
    encoder = PromptEncoder.from_pretrained(tiny_folder, precision="bf16", device="cpu", max_sequence_length=1)
    prompt = encoder.encode(PROMPTS)
    assert encoder.max_sequence_length == 1
    assert {tensor.dtype for tensor in (prompt.prompt_embeds, prompt.pooled_prompt_embeds)} == {torch.bfloat16}
