"""Precision and recall on sets whose manifolds are known by hand, and against loops over the definition."""

import math

import pytest
import torch

from ladd_ray.evaluation.manifolds import precision_recall


def line(*places):
    return torch.tensor(places, dtype=torch.float64)[:, None]


def looped(reference, generated, k):
    """Share of the generated points that lie in the ball of some reference point, with its radius by sorting."""
    hits = 0
    for point in generated.tolist():
        balls = (
            (centre, sorted(math.dist(centre, other) for other in reference.tolist())[k])
            for centre in reference.tolist()
        )
        hits += any(math.dist(point, centre) <= radius for centre, radius in balls)
    return hits / len(generated)


def test_equal_sets_cover_each_other():
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    score = precision_recall(x, x)
    assert (score.precision, score.recall) == (1.0, 1.0)


def test_sets_far_apart_do_not_meet():
    score = precision_recall(line(0, 1, 2, 3), line(100, 101, 102, 103))
    assert (score.precision, score.recall) == (0.0, 0.0)


def test_a_set_that_has_lost_variety_keeps_precision_and_loses_recall():
    """All real places from 0 to 9; drawn is only the neighbourhood of 4.5, with radii of .03."""
    score = precision_recall(line(*range(10)), line(4.5, 4.51, 4.52, 4.53))
    assert (score.precision, score.recall) == (1.0, 0.0)


def test_a_set_that_draws_more_than_is_real_loses_precision_only():
    """Radius 2 around 0 and 3, and 1 around 1 and 2, with one neighbour: half of what is drawn lies beyond."""
    score = precision_recall(line(0, 1, 2, 3), line(0, 1, 2, 3, 50, 51, 52, 53), num_neighbours=1)
    assert (score.precision, score.recall) == (0.5, 1.0)


def test_a_point_on_the_edge_of_a_ball_is_inside():
    score = precision_recall(line(0, 1, 10, 11), line(2, 30, 40, 50), num_neighbours=1)
    assert score.precision == 0.25


@pytest.mark.parametrize("k", [1, 3, 5])
def test_both_equal_loops_over_the_definition(k):
    generator = torch.Generator().manual_seed(k)
    x, y = torch.randn(25, 3, generator=generator), torch.randn(18, 3, generator=generator) + 1.5
    score = precision_recall(x, y, num_neighbours=k)
    x, y = x.double(), y.double()
    assert (score.precision, score.recall) == (looped(x, y, k), looped(y, x, k))
    assert 0 < score.precision < 1 and 0 < score.recall < 1


def test_small_distances_far_from_the_origin_are_kept_apart():
    """In single precision, 1e6 + 0.01 and 1e6 are one number."""
    reference = 1e6 + line(0, 0.01, 0.02, 0.03)
    assert precision_recall(reference, reference + 0.5).precision == 0.0


@pytest.mark.parametrize(("n", "k", "message"), [(3, 1, "four pictures"), (5, 5, "5 neighbours")])
def test_sets_that_are_too_small_are_refused(n, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(torch.rand(8, 2), torch.rand(n, 2), num_neighbours=k)
