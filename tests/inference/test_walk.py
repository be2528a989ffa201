"""Walks in any company draw what the pipeline draws alone: the same bits, once rows are independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ladd_ray.inference import Pipeline, TeacherPipeline
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.walk import Order, Walk, advance, begin, pictures
from tests.inference.models import KNOBS, export_tiny, hole, photo

GENERATE = Order("generate", "a red apple", 64, 64, seeds=(5,), num_inference_steps=4)
EDIT = Order("edit", "two blue cat", 64, 64, seeds=(6,), num_inference_steps=2, image=photo(1))
FILL = Order("inpaint", "a green banana", 64, 64, seeds=(7,), num_inference_steps=3, image=photo(2), hole=hole())
QUICK = Order("generate", "a cat on green background", 64, 64, seeds=(8,), num_inference_steps=1)


@pytest.fixture(scope="module")
def student(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = export_tiny(tiny_folder, tmp_path_factory.mktemp("exports") / "student", knobs=KNOBS)
    pipeline = Pipeline.from_pretrained(folder)
    pipeline.make_rows_independent()
    return pipeline


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TeacherPipeline:
    folder = export_tiny(tiny_folder, tmp_path_factory.mktemp("exports") / "teacher", student=False)
    return TeacherPipeline.from_pretrained(folder, guidance_scale=3.0, image_guidance_scale=1.5)


def start(pipeline: TaskPipeline, *orders: Order) -> list[Walk]:
    return [
        walk
        for order in orders
        for walk in begin(pipeline, order, prompt=pipeline.prompt_encoder.encode([order.prompt]))
    ]


def drawn(pipeline: TaskPipeline, walks: Sequence[Walk]) -> list[NDArray[np.uint8]]:
    """All walks to their end, each forward with everybody who still has a step to do."""
    while going := [walk for walk in walks if walk.steps_left]:
        advance(pipeline, going)
    return [pictures(pipeline, [walk])[0] for walk in walks]


def by_pipeline(pipeline: TaskPipeline, order: Order) -> NDArray[np.uint8]:
    steps, seed, texts = order.num_inference_steps, list(order.seeds), [order.prompt]
    if order.task == "generate":
        found = pipeline.generate(
            texts,
            seed=seed,
            num_inference_steps=steps,
            text_guidance=order.text_guidance,
            height=order.height,
            width=order.width,
        )
    elif order.task == "edit":
        found = pipeline.edit(
            [order.image],
            texts,
            seed=seed,
            num_inference_steps=steps,
            text_guidance=order.text_guidance,
            image_guidance=order.image_guidance,
        )
    else:
        found = pipeline.inpaint([order.image], [order.hole], texts, seed=seed, num_inference_steps=steps)
    return np.asarray(found[0])


STRONG = replace(EDIT, text_guidance=4.5, image_guidance=2.0)
MIXED = (GENERATE, EDIT, FILL, QUICK, STRONG)


def test_a_mixed_company_draws_the_same_bits_as_the_pipeline(student: Pipeline) -> None:
    for order, found in zip(MIXED, drawn(student, start(student, *MIXED)), strict=True):
        assert np.array_equal(found, by_pipeline(student, order)), order


def test_latents_are_equal_bit_by_bit_whoever_joins_and_leaves(student: Pipeline) -> None:
    (alone,) = start(student, GENERATE)
    drawn(student, [alone])
    (walk,) = start(student, GENERATE)
    advance(student, [walk])
    company = start(student, FILL, EDIT, QUICK)
    advance(student, [company[0], walk, *company[1:]])
    advance(student, [*company[:2], walk])
    advance(student, [walk])
    assert walk.steps_left == 0
    assert np.array_equal(alone.x0.numpy(), walk.x0.numpy())
    assert np.array_equal(walk.x0.numpy(), walk.x_sigma.numpy())


def test_the_guided_model_walks_as_it_draws(teacher: TeacherPipeline) -> None:
    orders = [
        replace(order, num_inference_steps=steps)
        for order, steps in zip((GENERATE, EDIT, FILL), (3, 4, 2), strict=True)
    ]
    for order, found in zip(orders, drawn(teacher, start(teacher, *orders)), strict=True):
        assert abs(found.astype(int) - by_pipeline(teacher, order)).max() <= 1


def test_guidance_that_the_equations_do_not_have_is_refused_before_it_meets_others(teacher: TeacherPipeline) -> None:
    with pytest.raises(ValueError, match="needs text_guidance above 1"):
        start(teacher, replace(EDIT, text_guidance=1.0, image_guidance=2.0))


def test_many_seeds_are_many_orders_of_one_seed(student: Pipeline) -> None:
    together = drawn(student, start(student, replace(EDIT, seeds=(3, 4, 5))))
    for seed, found in zip((3, 4, 5), together, strict=True):
        assert np.array_equal(found, by_pipeline(student, replace(EDIT, seeds=(seed,))))
    assert abs(together[0].astype(int) - together[1]).mean() > 1


def test_pixels_outside_of_the_hole_stay_from_the_first_preview_on(student: Pipeline) -> None:
    (walk,) = start(student, FILL)
    advance(student, [walk])
    assert np.array_equal(pictures(student, [walk])[0][~hole()], photo(2)[~hole()])


def test_other_sizes_walk_too(student: Pipeline) -> None:
    order = replace(GENERATE, height=48, width=80)
    (walk,) = start(student, order)
    assert walk.shape == (16, 6, 10)
    assert np.array_equal(drawn(student, [walk])[0], by_pipeline(student, order))


def test_cost_counts_pixels_steps_with_decoding_and_pictures() -> None:
    assert replace(GENERATE, height=48, seeds=(1, 2, 3)).cost == 48 * 64 * (4 + 1) * 3


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (replace(GENERATE, num_inference_steps=5), "5 steps"),
        (replace(GENERATE, height=60), "multiples of 16"),
        (replace(EDIT, text_guidance=9.0), "text_guidance = 9"),
        (replace(FILL, hole=hole()[:32]), "one mask of the same size"),
    ],
)
def test_wrong_orders_say_what_is_right(student: Pipeline, order: Order, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start(student, order)


def test_a_model_that_only_generates_walks_and_refuses_the_rest(tiny_folder: Path) -> None:
    narrow = TeacherPipeline.from_pretrained(tiny_folder)
    with pytest.raises(ValueError, match="only generates"):
        start(narrow, replace(EDIT, num_inference_steps=2))
    (walk,) = start(narrow, replace(GENERATE, num_inference_steps=2))
    assert walk.condition.task_channels is None
    assert drawn(narrow, [walk])[0].shape == (64, 64, 3)
