"""Figures of a judge: by head, by noise level, and the same whoever saw which sample."""

from __future__ import annotations

import pytest
import torch

from ladd_ray.algorithm.health import Verdict, figures, tally


def maps(*rows: list[float]) -> torch.Tensor:
    """Logits of some samples, each a line of tokens (b, 1, w)."""
    return torch.tensor(rows)[:, None, :]


def test_figures_by_head_and_by_noise_level() -> None:
    sharp = maps([2.0, 3.0], [0.5, -0.5]), maps([-2.0, -3.0], [0.5, -0.5])
    blind = maps([0.1, 0.1], [0.1, 0.1]), maps([0.1, 0.1], [0.1, 0.1])
    verdict = Verdict.of([sharp[0], blind[0]], [sharp[1], blind[1]], sigma=torch.tensor([0.1, 1.0]))
    found = figures(tally(verdict))
    assert found == pytest.approx(
        {
            "health/head_0/accuracy": 0.75,
            "health/head_0/logit_gap": 2.5,
            "health/head_0/dead_hinge": 0.5,
            "health/head_1/accuracy": 0.5,
            "health/head_1/logit_gap": 0.0,
            "health/head_1/dead_hinge": 0.0,
            "health/sigma_0_0.25/accuracy": 0.75,
            "health/sigma_0_0.25/logit_gap": 2.5,
            "health/sigma_0_0.25/dead_hinge": 0.5,
            "health/sigma_0.75_1/accuracy": 0.5,
            "health/sigma_0.75_1/logit_gap": 0.0,
            "health/sigma_0.75_1/dead_hinge": 0.0,
        },
        abs=1e-6,
    )


def test_ranks_that_share_the_samples_out_find_the_figures_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = ([torch.randn(6, 3, 4, generator=generator) for _ in range(3)] for _ in range(2))
    sigma = torch.rand(6, generator=generator)

    def part(rows: slice) -> dict[str, float]:
        return tally(Verdict.of([one[rows] for one in real], [one[rows] for one in fake], sigma=sigma[rows]))

    ranks = part(slice(0, 3)), part(slice(3, 6))
    mean = {name: (value + ranks[1][name]) / 2 for name, value in ranks[0].items()}
    assert figures(mean) == pytest.approx(figures(part(slice(0, 6))))


def test_a_verdict_has_no_graph() -> None:
    logits = torch.zeros(2, 1, 1, requires_grad=True) * 2
    verdict = Verdict.of([logits], [logits], sigma=torch.zeros(2))
    assert not verdict.real[0].requires_grad and not verdict.fake[0].requires_grad
