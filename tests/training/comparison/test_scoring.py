"""Scores are kept for one model under one protocol, with the pictures that they are of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ladd_ray.evaluation.comparison import Scores
from ladd_ray.training.comparison.plan import prepare_comparison
from ladd_ray.training.comparison.scoring import Entrant, Hall, few_step_teachers, open_hall
from ladd_ray.training.evaluation.candidates import contenders_of
from tests.training.comparison.conftest import Configure

SCORES = Scores(0.5, 0.1, {"single": 0.5}, kid=0.2, kid_real=0.3, diversity=0.4)


@pytest.fixture
def hall(configure: Configure) -> Hall:
    return open_hall(prepare_comparison(configure()), [])


def test_what_was_kept_is_found_for_the_same_weights_only(hall: Hall) -> None:
    (contender,) = contenders_of(hall.plan.candidates[0], hall.plan.config)
    entrant = Entrant(contender, "weights")
    assert hall.find(entrant) is None
    pictures = list(np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8))
    hall.keep(entrant, SCORES, pictures)
    found = hall.find(entrant)
    assert found is not None and found.scores == SCORES
    # As many as the sheet shows.
    assert np.array_equal(np.stack(found.shown), np.stack(pictures[:3]))
    assert hall.find(Entrant(contender, "other weights")) is None


def test_the_protocol_changes_with_what_is_asked_and_not_with_who_draws(configure: Configure, hall: Hall) -> None:
    def protocol(**changes: object) -> str:
        found: str = open_hall(prepare_comparison(configure(**changes)), []).protocol["hash"]
        return found

    assert protocol(seconds=9.0, run__batch_size=3, seeds=(1, 2)) == hall.protocol["hash"]
    for changes in ({"num_images": 10}, {"evaluation_seed": 1}, {"student_steps": (1, 2)}):
        assert protocol(**changes) != hall.protocol["hash"]


def test_the_teacher_draws_in_few_steps_by_both_samplers(hall: Hall) -> None:
    plain, begun, *_ = few_step_teachers(hall.plan.candidates[0], hall.plan.config, levels=(1.0, 0.5))
    assert (plain.num_inference_steps, plain.guidance_scale) == (1, 1.0)
    assert begun == replace(plain, name=begun.name, label=begun.label, guidance_scale=None, levels=(1.0, 0.5))
    names = [one.name for one in few_step_teachers(hall.plan.candidates[0], hall.plan.config, levels=(1.0, 0.5))]
    assert names == ["euler_1", "begun_1", "euler_4", "begun_4"]
