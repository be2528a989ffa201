import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ladd_ray.algorithm import losses
from ladd_ray.algorithm.losses import ADVERSARIAL_LOSSES

LOGITS = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)


def test_hinge_has_its_values() -> None:
    hinge = ADVERSARIAL_LOSSES["hinge"]
    assert hinge.real(LOGITS).tolist() == [3, 1.5, 1, 0.5, 0]
    assert hinge.fake(LOGITS).tolist() == [0, 0.5, 1, 1.5, 3]
    assert hinge.student(LOGITS).tolist() == [2, 0.5, 0, -0.5, -2]


@pytest.mark.parametrize("name", ["softplus", "bce"])
def test_softplus_and_bce_are_cross_entropy(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]

    def cross_entropy(label: float) -> Tensor:
        labels = torch.full_like(LOGITS, label)
        return functional.binary_cross_entropy_with_logits(LOGITS, labels, reduction="none")

    torch.testing.assert_close(loss.real(LOGITS), cross_entropy(1.0))
    torch.testing.assert_close(loss.fake(LOGITS), cross_entropy(0.0))
    torch.testing.assert_close(loss.student(LOGITS), cross_entropy(1.0))


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_LOSSES))
def test_each_turn_pushes_logits_its_own_way(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    logit = torch.zeros((), requires_grad=True)
    slopes = {
        turn: torch.autograd.grad(function(logit), logit)[0].item()
        for turn, function in (("real", loss.real), ("fake", loss.fake), ("student", loss.student))
    }
    assert slopes["real"] < 0 < slopes["fake"]
    assert slopes["student"] < 0


def test_hinge_judges_each_logit_not_their_mean() -> None:
    sure_and_wrong = torch.tensor([5.0, -3.0], requires_grad=True)
    loss = losses.HINGE.real(losses.flatten_logits([sure_and_wrong.view(1, 1, 2)])).mean()
    loss.backward()
    assert loss.item() == 2.0
    assert losses.HINGE.real(sure_and_wrong.mean()).item() == 0.0
    assert sure_and_wrong.grad is not None
    assert sure_and_wrong.grad.tolist() == [0, -0.5]


def test_flatten_keeps_every_logit_and_widens_bfloat16() -> None:
    maps = [torch.zeros(2, 3, 4, dtype=torch.bfloat16), torch.ones(2, 3, 4, dtype=torch.bfloat16)]
    flat = losses.flatten_logits(maps)
    assert flat.shape == (48,)
    assert flat.dtype == torch.float32
    assert flat.sum() == 24


def quadratic_logits(features: list[Tensor]) -> list[Tensor]:
    return [(feature**2).mean(dim=1) + 0.5 * feature.sum(dim=1) ** 3 for feature in features]


def test_exact_r1_is_the_squared_gradient_by_finite_differences() -> None:
    torch.manual_seed(0)
    features = [torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    penalty = losses.exact_r1(quadratic_logits(features), features)
    step, expected = 1e-5, 0.0
    for feature in features:
        for index in range(feature.numel()):
            change = torch.zeros(feature.numel(), dtype=torch.float64)
            change[index] = step
            ahead, behind = (
                quadratic_logits([feature.detach() + sign * change.view_as(feature)])[0].sum() for sign in (1, -1)
            )
            expected += ((ahead - behind) / (2 * step)).item() ** 2
    samples, heads = 2, 2
    assert penalty.item() == pytest.approx(expected / samples / heads, rel=1e-7)


def test_exact_r1_can_be_minimised() -> None:
    slope = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    feature = torch.ones(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    losses.exact_r1([(slope * feature).sum(dim=1)], [feature]).backward()
    assert slope.grad is not None
    assert slope.grad.item() == pytest.approx(2 * 3.0 * 4)


def test_approximate_r1_is_the_mean_squared_change() -> None:
    moved = LOGITS + torch.tensor([0.0, 1.0, 0.0, -2.0, 0.0])
    assert losses.approximate_r1(LOGITS, moved).item() == pytest.approx(1.0)
