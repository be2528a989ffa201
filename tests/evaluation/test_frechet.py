"""FID against the textbook formula, in closed form, and its bias where pictures are few."""

import pytest
import torch

from ladd_ray.evaluation.frechet import fid


def textbook_fid(x, y):
    """|m - m'|^2 + tr(C) + tr(C') - 2 tr((C C')^1/2), with the root from the eigenvalues of the product."""
    x, y = x.double(), y.double()
    first, second = torch.cov(x.T), torch.cov(y.T)
    roots = torch.linalg.eigvals(first @ second).sqrt().real.sum()
    return ((x.mean(0) - y.mean(0)).square().sum() + first.trace() + second.trace() - 2 * roots).item()


def draw(n, d, *, seed, spread=1.0, shift=0.0):
    return spread * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 6), (12, 9, 6), (8, 40, 20), (8, 9, 20)])
def test_fid_is_the_textbook_formula_with_many_and_with_few_pictures(n, m, d):
    x, y = draw(n, d, seed=0), draw(m, d, seed=1, spread=2.0, shift=0.5)
    # Eigenvalues of a singular product are zero up to rounding, and their roots are not small: hence the tolerance.
    assert fid(x, y).value == pytest.approx(textbook_fid(x, y), rel=1e-5)


def test_a_set_has_no_distance_from_itself_nor_from_its_shuffle():
    x = draw(30, 50, seed=0)
    assert fid(x, x).value == pytest.approx(0, abs=1e-9)
    assert fid(x, x.flip(0)).value == pytest.approx(0, abs=1e-9)


def test_a_shift_costs_its_square_and_a_spread_the_square_of_its_difference():
    x = draw(50, 4, seed=0)
    assert fid(x, x + 3).value == pytest.approx(4 * 3**2)
    centred = x - x.mean(0)
    assert fid(centred, 3 * centred).value == pytest.approx(torch.cov(x.T).trace().item() * (3 - 1) ** 2)


def test_it_is_biased_upwards_where_pictures_are_few():
    """Both sets come from one distribution: what is left is bias, and it shrinks with the number of pictures."""
    few, many = (fid(draw(n, 16, seed=1), draw(n, 16, seed=2)).value for n in (16, 1024))
    assert few > 10 * many > 0


@pytest.mark.parametrize(("n", "d", "message"), [(3, 5, "four pictures"), (8, 4, "number of features")])
def test_sets_that_do_not_fit_are_refused(n, d, message):
    with pytest.raises(ValueError, match=message):
        fid(draw(8, 5, seed=0), draw(n, d, seed=1))


def test_it_is_named_after_its_features_and_says_that_it_is_biased():
    score = fid(draw(8, 5, seed=0), draw(9, 5, seed=1)).to_dict()
    assert score["name"] == "FID-EffNetLite0"
    assert "biased" in score["definition"]
    assert (score["num_reference"], score["num_generated"]) == (8, 9)
