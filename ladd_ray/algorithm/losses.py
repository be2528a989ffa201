"""Adversarial losses and gradient penalties, all per logit: one for every token of every head.

The hinge acts on each logit BEFORE any mean. Pooling the logits of an image first lets the judge drive its
loss to 0 with most tokens undecided, and the run collapses. The paper does not print its loss: the hinge is
what ADD, before it, and SANA-Sprint, after it, use.

Shape legend: b batch, d width of the features, h w height and width of a map, n logits of all heads and
samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LogitLoss = Callable[[Tensor], Tensor]
"""Logits (n,) -> loss of each (n,)."""


@dataclass(frozen=True)
class AdversarialLoss:
    """Three functions of single logits; a large logit says "real"."""

    real: LogitLoss
    """What the heads pay for a logit on real latents."""
    fake: LogitLoss
    """What the heads pay for a logit on the student's latents."""
    student: LogitLoss
    """What the student pays for a logit on its latents."""


def _hinge_real(logits: Tensor) -> Tensor:
    return functional.relu(1 - logits)


def _hinge_fake(logits: Tensor) -> Tensor:
    return functional.relu(1 + logits)


def _softplus_negative(logits: Tensor) -> Tensor:
    return functional.softplus(-logits)


HINGE = AdversarialLoss(real=_hinge_real, fake=_hinge_fake, student=torch.neg)
"""Lim and Ye 2017: the student's gradient never saturates, the heads stop at a margin of 1."""

SOFTPLUS = AdversarialLoss(real=_softplus_negative, fake=functional.softplus, student=_softplus_negative)
"""The non-saturating loss of Goodfellow et al. 2014."""

ADVERSARIAL_LOSSES: Mapping[str, AdversarialLoss] = {"hinge": HINGE, "softplus": SOFTPLUS, "bce": SOFTPLUS}
"""By the name in the configuration. Binary cross-entropy on logits, where the student asks for the label
"real", IS the softplus loss; public ports use either name."""


def flatten_logits(logits: Sequence[Tensor]) -> Tensor:
    """Maps (b, h, w) of all heads as one vector (n,), in at least float32."""
    return _widen(torch.cat([head_logits.flatten() for head_logits in logits]))


def exact_r1(logits: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """Mean over samples and heads of || d(sum of the head's logits) / d(features) ||^2, the penalty of ADD.

    Args:
        logits: One map (b, h, w) for each head.
        features: The heads' inputs (b, d, h, w), leaves that require a gradient.
    """
    total = flatten_logits(logits).sum()
    gradients = torch.autograd.grad(total, list(features), create_graph=True)
    return torch.stack([_widen(gradient).square().sum() / len(gradient) for gradient in gradients]).mean()


def approximate_r1(logits: Tensor, nearby_logits: Tensor) -> Tensor:
    """Mean squared change of the logits (n,) when the judge's input moves a little.

    Seaweed-APT (arXiv 2501.08316), which weighs it with 100 at a perturbation of 0.01.
    """
    return (logits - nearby_logits).square().mean()


def _widen(tensor: Tensor) -> Tensor:
    # Means and squares of bfloat16 numbers round to nothing.
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
