"""The learned position table: a weight that learns, under the name of the fixed one."""

from __future__ import annotations

import torch

from ladd_ray.models.positions import learn_positions
from ladd_ray.models.sd3 import SD3Denoiser
from tests.models.test_sd3 import make_inputs, make_transformer


def test_it_starts_as_the_fixed_one_and_learns() -> None:
    inputs = make_inputs(4, 6)
    fixed = make_transformer()
    state = {name: tensor.clone() for name, tensor in fixed.state_dict().items()}
    with torch.no_grad():
        expected = SD3Denoiser(fixed)(*inputs)
    learned = learn_positions(fixed)
    velocity = SD3Denoiser(learned)(*inputs)
    torch.testing.assert_close(velocity, expected, rtol=0, atol=0)
    velocity.square().mean().backward()
    gradient = learned.pos_embed.pos_embed.grad
    assert gradient is not None
    assert 0 < int((gradient.abs().sum(dim=-1) > 0).sum()) == 2 * 3, "only the tokens of the picture learn"
    assert learned.state_dict().keys() == state.keys()


def test_a_stock_transformer_loads_the_learned_table() -> None:
    learned = learn_positions(make_transformer())
    with torch.no_grad():
        learned.pos_embed.pos_embed.add_(torch.randn_like(learned.pos_embed.pos_embed))
    stock = make_transformer()
    stock.load_state_dict(learned.state_dict())
    torch.testing.assert_close(stock.pos_embed.pos_embed, learned.pos_embed.pos_embed.detach())
