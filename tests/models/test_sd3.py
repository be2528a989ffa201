"""Shape legend: b batch, c latent channels, h w latent height and width, d hidden width."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from diffusers import SD3Transformer2DModel
from einops import rearrange
from torch import Tensor

from ladd_ray.models.sd3 import SD3Denoiser, SD3Features

LAYERS = 3
SIZES = [(8, 8), (6, 10)]


class Inputs(NamedTuple):
    x_sigma: Tensor
    sigma: Tensor
    prompt_embeds: Tensor
    pooled_prompt_embeds: Tensor


def make_transformer(**changes: object) -> SD3Transformer2DModel:
    torch.manual_seed(0)
    sizes = {
        "sample_size": 8,
        "num_layers": LAYERS,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "caption_projection_dim": 16,
        "joint_attention_dim": 12,
        "pooled_projection_dim": 20,
        "pos_embed_max_size": 8,
    }
    return SD3Transformer2DModel(**(sizes | changes)).eval()


@pytest.fixture(params=["sd3", "sd3.5-large", "sd3.5-medium"])
def transformer(request: pytest.FixtureRequest) -> SD3Transformer2DModel:
    """Tiny, but with the blocks of each member of the family."""
    changes = {
        "sd3": {},
        "sd3.5-large": {"qk_norm": "rms_norm"},
        "sd3.5-medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)},
    }
    return make_transformer(**changes[request.param])


def make_inputs(height: int, width: int, *, batch: int = 2) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    return Inputs(
        torch.randn(batch, 16, height, width, generator=generator),
        torch.rand(batch, generator=generator),
        torch.randn(batch, 5, 12, generator=generator),
        torch.randn(batch, 20, generator=generator),
    )


def plain_forward(transformer: SD3Transformer2DModel, inputs: Inputs) -> Tensor:
    return transformer(
        hidden_states=inputs.x_sigma,
        timestep=1000 * inputs.sigma,
        encoder_hidden_states=inputs.prompt_embeds,
        pooled_projections=inputs.pooled_prompt_embeds,
    ).sample


def count_calls(transformer: SD3Transformer2DModel) -> list[int]:
    """Fills with the number of each block that is entered."""
    calls: list[int] = []
    for index, block in enumerate(transformer.transformer_blocks):
        block.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    return calls


def test_sizes() -> None:
    denoiser = SD3Denoiser(make_transformer())
    assert (denoiser.hidden_size, denoiser.num_blocks, denoiser.prompt_size) == (16, LAYERS, 12)
    assert (denoiser.pooled_size, denoiser.latent_channels) == (20, 16)


@pytest.mark.parametrize("size", SIZES)
def test_denoiser_is_the_transformer_at_a_thousand_sigma(
    transformer: SD3Transformer2DModel, size: tuple[int, int]
) -> None:
    inputs = make_inputs(*size)
    with torch.no_grad():
        velocity = SD3Denoiser(transformer)(*inputs)
        torch.testing.assert_close(velocity, plain_forward(transformer, inputs), rtol=0, atol=0)
        other_level = SD3Denoiser(transformer)(*inputs._replace(sigma=inputs.sigma / 2))
    assert not torch.allclose(velocity, other_level)


@pytest.mark.parametrize("size", SIZES)
def test_features_are_what_a_hook_on_each_block_sees(transformer: SD3Transformer2DModel, size: tuple[int, int]) -> None:
    inputs = make_inputs(*size)
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1]))
        for block in transformer.transformer_blocks
    ]
    with torch.no_grad():
        plain_forward(transformer, inputs)
        for hook in hooks:
            hook.remove()
        features = SD3Features(transformer)(*inputs)

    assert [feature.shape for feature in features] == [(2, 16, size[0] // 2, size[1] // 2)] * LAYERS
    for feature, tokens in zip(features, seen, strict=True):
        torch.testing.assert_close(rearrange(feature, "b d h w -> b (h w) d"), tokens, rtol=0, atol=0)


@pytest.mark.parametrize("size", SIZES)
def test_last_feature_map_finishes_to_the_plain_velocity(
    transformer: SD3Transformer2DModel, size: tuple[int, int]
) -> None:
    inputs = make_inputs(*size)
    with torch.no_grad():
        last = SD3Features(transformer)(*inputs)[-1]
        conditioning = transformer.time_text_embed(1000 * inputs.sigma, inputs.pooled_prompt_embeds)
        tokens = transformer.norm_out(rearrange(last, "b d h w -> b (h w) d"), conditioning)
        patches = transformer.proj_out(tokens)
        velocity = rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=size[0] // 2, p=2, q=2)
        torch.testing.assert_close(velocity, plain_forward(transformer, inputs))


def test_features_tap_the_asked_blocks_and_run_no_later_one(transformer: SD3Transformer2DModel) -> None:
    inputs = make_inputs(8, 8)
    with torch.no_grad():
        every = SD3Features(transformer)(*inputs)
        calls = count_calls(transformer)
        (first,) = SD3Features(transformer, tapped_blocks=(1,))(*inputs)
    assert calls == [0, 1]
    torch.testing.assert_close(first, every[1], rtol=0, atol=0)


@pytest.mark.parametrize("blocks", [(), (LAYERS,), (-1, 0), (1, 0), (0, 0)])
def test_impossible_taps_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.2"):
        SD3Features(make_transformer(), tapped_blocks=blocks)


def test_features_do_not_depend_on_batch_neighbours() -> None:
    features = SD3Features(make_transformer())
    inputs = make_inputs(8, 8)
    with torch.no_grad():
        both, alone = features(*inputs), features(*(tensor[:1] for tensor in inputs))
    for pair, single in zip(both, alone, strict=True):
        torch.testing.assert_close(pair[:1], single)


def test_teacher_shares_one_transformer_and_passes_gradients_to_its_input() -> None:
    transformer = make_transformer().requires_grad_(False)
    denoiser, features = SD3Denoiser(transformer), SD3Features(transformer)
    inputs = make_inputs(8, 8)
    inputs.x_sigma.requires_grad_()
    loss = sum(feature.square().mean() for feature in features(*inputs)) + denoiser(*inputs).square().mean()
    loss.backward()
    assert denoiser.transformer is features.transformer
    assert inputs.x_sigma.grad is not None and inputs.x_sigma.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in transformer.parameters())


@pytest.mark.parametrize("network", [SD3Denoiser, SD3Features])
def test_recomputation_changes_no_gradient_and_runs_blocks_again(network: type) -> None:
    results = []
    for activation_checkpointing in (False, True):
        module = network(make_transformer(), activation_checkpointing=activation_checkpointing)
        inputs = make_inputs(8, 8)
        inputs.x_sigma.requires_grad_()
        calls = count_calls(module.transformer)
        output = module(*inputs)
        last = output[-1] if isinstance(output, list) else output
        last.square().mean().backward()
        results.append((last.detach(), inputs.x_sigma.grad, len(calls)))
    (plain, plain_grad, plain_calls), (again, again_grad, again_calls) = results
    torch.testing.assert_close(again, plain)
    torch.testing.assert_close(again_grad, plain_grad)
    assert (plain_calls, again_calls) == (LAYERS, 2 * LAYERS)


def test_low_precision_weights_take_full_precision_latents() -> None:
    transformer = make_transformer()
    inputs = make_inputs(8, 8)
    with torch.no_grad():
        exact = SD3Denoiser(transformer)(*inputs)
        velocity = SD3Denoiser(transformer.to(torch.bfloat16))(*inputs)
        features = SD3Features(transformer)(*inputs)
    assert velocity.dtype == torch.float32
    assert {feature.dtype for feature in features} == {torch.bfloat16}
    torch.testing.assert_close(velocity, exact, rtol=0.1, atol=0.05)
