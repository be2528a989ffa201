import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.algorithm.spectral import SpectralConv2d, spectral_norm
from ladd_ray.config import DiscriminatorConfig

HIDDEN, POOLED = 32, 6


def heads(
    *, num_blocks: int = 2, condition_on_sigma: bool = True, condition_on_prompt: bool = True
) -> DiscriminatorHeads:
    torch.manual_seed(0)
    return DiscriminatorHeads(
        HIDDEN,
        POOLED,
        num_blocks=num_blocks,
        condition_on_sigma=condition_on_sigma,
        condition_on_prompt=condition_on_prompt,
    )


def inputs(rows: int = 3, *, height: int = 4, width: int = 4, blocks: int = 2) -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = [torch.randn(rows, HIDDEN, height, width, generator=generator) for _ in range(blocks)]
    return features, torch.rand(rows, generator=generator), torch.randn(rows, POOLED, generator=generator)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (2, 7), (9, 3)])
def test_one_logit_per_token_at_any_aspect_ratio(height: int, width: int) -> None:
    logits = heads()(*inputs(height=height, width=width))
    assert [tuple(head_logits.shape) for head_logits in logits] == [(3, height, width)] * 2
    assert all(head_logits.isfinite().all() for head_logits in logits)


@pytest.mark.parametrize("on_sigma", [True, False])
@pytest.mark.parametrize("on_prompt", [True, False])
def test_a_condition_matters_exactly_when_it_is_on(on_sigma: bool, on_prompt: bool) -> None:
    module = heads(condition_on_sigma=on_sigma, condition_on_prompt=on_prompt)
    features, sigma, pooled = inputs()
    base, other_sigma, other_prompt = (
        torch.stack(module(features, *condition))
        for condition in ((sigma, pooled), (1 - sigma, pooled), (sigma, pooled.flip(0)))
    )
    assert torch.equal(base, other_sigma) is not on_sigma
    assert torch.equal(base[:, [0, 2]], other_prompt[:, [0, 2]]) is not on_prompt


def test_a_logit_does_not_depend_on_the_rest_of_the_batch() -> None:
    module = heads()
    features, sigma, pooled = inputs()
    together = module(features, sigma, pooled)
    for row in range(3):
        alone = module([feature[row : row + 1] for feature in features], sigma[row : row + 1], pooled[row : row + 1])
        for head_together, head_alone in zip(together, alone, strict=True):
            torch.testing.assert_close(head_together[row : row + 1], head_alone, rtol=1e-4, atol=1e-5)


def test_heads_are_independent() -> None:
    module = heads()
    features, sigma, pooled = inputs()
    module([features[0].requires_grad_(), features[1]], sigma, pooled)[0].sum().backward()
    touched = {name.split(".")[1] for name, weight in module.named_parameters() if weight.grad is not None}
    assert touched == {"0"}


def test_forwards_leave_no_trace() -> None:
    module = heads().train()
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    first = module(*inputs())
    second = module(*inputs())
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    assert not list(module.buffers())
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())


def test_wide_features_of_another_precision_are_taken() -> None:
    features, sigma, pooled = inputs()
    halves = [feature.bfloat16() for feature in features]
    logits = heads()(halves, sigma, pooled.bfloat16())
    assert {head_logits.dtype for head_logits in logits} == {torch.float32}


def test_config_sizes_the_heads() -> None:
    config = DiscriminatorConfig(tapped_blocks=(1, 3, 5), width=24, depth=3, kernel_size=5)
    module = DiscriminatorHeads.from_config(config, HIDDEN, pooled_size=POOLED, num_blocks=6)
    residual = [layer for layer in module.heads[0].modules() if isinstance(layer, SpectralConv2d)]
    assert len(module.heads) == 3
    assert [layer.kernel_size[0] for layer in residual] == [5, 5, 5]
    assert {layer.out_channels for layer in residual} == {24}
    every = DiscriminatorHeads.from_config(DiscriminatorConfig(), HIDDEN, pooled_size=POOLED, num_blocks=6)
    assert len(every.heads) == 6


def test_heads_see_contrast_as_a_whole() -> None:
    """What a student gets wrong first: every token a little nearer to the mean of the image."""
    features, sigma, pooled = inputs()
    washed_out = [feature.lerp(feature.mean(dim=(2, 3), keepdim=True), 0.3) for feature in features]
    module = heads()
    for sharp, faint in zip(module(features, sigma, pooled), module(washed_out, sigma, pooled), strict=True):
        assert (sharp - faint).abs().mean() > 0.05 * sharp.std()


def test_a_width_that_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        DiscriminatorHeads(HIDDEN, POOLED, num_blocks=1, width=12)


@pytest.mark.parametrize(("rows", "columns"), [(1, 64), (8, 16), (64, 64), (96, 864)])
def test_spectral_norm_is_the_largest_singular_value(rows: int, columns: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    ratio = (spectral_norm(weight) / torch.linalg.svdvals(weight)[0]).item()
    assert 0.98 < ratio < 1.00001


def test_spectral_norm_has_the_gradient_of_the_largest_singular_value() -> None:
    weight = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = (weight + 5).requires_grad_()
    (ours,) = torch.autograd.grad(spectral_norm(weight), weight)
    (exact,) = torch.autograd.grad(torch.linalg.matrix_norm(weight, ord=2), weight)
    torch.testing.assert_close(ours, exact, rtol=1e-7, atol=1e-9)


def test_scale_of_the_weight_does_not_matter() -> None:
    convolution = SpectralConv2d(8, 16, kernel_size=3)
    hidden = torch.randn(2, 8, 5, 5)
    bias = convolution.bias.view(1, -1, 1, 1)
    before = convolution(hidden) - bias
    with torch.no_grad():
        convolution.weight.mul_(1e6)
    torch.testing.assert_close(convolution(hidden) - bias, before, rtol=1e-4, atol=1e-5)
