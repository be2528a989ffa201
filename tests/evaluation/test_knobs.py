"""Rank correlations of knobs, on effects whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ladd_ray.evaluation.judge_edits import MAX_PSNR
from ladd_ray.evaluation.knobs import KnobScore, KnobSweep, image_effect, rank_correlation

STRENGTHS = (1.0, 2.0, 3.0, 4.0)


def sweep(*effects: float) -> KnobSweep:
    return KnobSweep(STRENGTHS, effects)


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ((0.1, 0.2, 0.21, 9.0), 1.0),
        ((4.0, 3.0, 2.0, 1.0), -1.0),
        ((0.5, 0.5, 0.5, 0.5), 0.0),
        ((1.0, 2.0, 4.0, 3.0), 0.8),  # 1 - 6 (1 + 1) / (4 15)
        ((1.0, 2.0, 2.0, 3.0), 0.9486832980505138),  # Pearson's of 1 2 3 4 and 1 2.5 2.5 4
    ],
)
def test_rank_correlation_of_known_effects(effects: tuple[float, ...], expected: float) -> None:
    assert sweep(*effects).correlation == pytest.approx(expected, abs=1e-12)


def test_only_ranks_count() -> None:
    values = np.random.default_rng(0).normal(size=20)
    other = np.random.default_rng(1).normal(size=20)
    plain = rank_correlation(values.tolist(), other.tolist())
    assert rank_correlation(np.exp(values).tolist(), (3 * other - 7).tolist()) == pytest.approx(plain)
    assert rank_correlation(other.tolist(), values.tolist()) == pytest.approx(plain)
    assert abs(plain) < 0.5


def test_pairs_are_needed() -> None:
    for first, second in (([1.0], [1.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="two or more pairs"):
            rank_correlation(first, second)


def test_a_student_that_moves_as_its_teacher_agrees_with_it_even_where_the_effect_falls() -> None:
    # The teacher's success may fall again at large guidance: a student that copies it is right.
    score = KnobScore(student=sweep(0.2, 0.5, 0.4, 0.3), teacher=sweep(0.3, 0.9, 0.8, 0.5))
    assert score.agreement == pytest.approx(1.0)
    assert score.student.correlation == pytest.approx(0.2)
    found = score.to_dict()
    assert found["student_range"] == pytest.approx(0.1)
    assert found["teacher_range"] == pytest.approx(0.2)
    assert found["student"]["effects"] == (0.2, 0.5, 0.4, 0.3)


def test_different_strengths_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="equal strengths"):
        KnobScore(student=sweep(1, 2, 3, 4), teacher=KnobSweep((1.0, 2.0, 3.0, 5.0), (1, 2, 3, 4)))


def test_image_effect_falls_with_the_distance_to_the_source() -> None:
    source = np.full((4, 4, 3), 100, dtype=np.uint8)
    near, far = source + np.uint8(5), source + np.uint8(50)
    assert image_effect([source], [source]) == MAX_PSNR
    # 10 log10(255^2 / 25) and 10 log10(255^2 / 2500), whose mean is 24.2
    assert image_effect([near, far], [source, source]) == pytest.approx((34.1514 + 14.1514) / 2, abs=1e-3)
