"""A studio as its users see it: many orders at once, previews, deadlines, and leaving early."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ladd_ray.admission import Overloaded
from ladd_ray.inference import Pipeline, TeacherPipeline
from ladd_ray.inference.commission import Drawn, preview_steps
from ladd_ray.inference.facts import ModelFacts, facts_of
from ladd_ray.inference.scheduling import BatchLimits
from ladd_ray.inference.studio import PromptTooLong, Studio, StudioLimits
from ladd_ray.inference.walk import Order
from tests.inference.models import KNOBS, export_tiny, hole, photo

ORDER = Order("generate", "a red apple", 64, 64, seeds=(5,), num_inference_steps=4)
LIMITS = StudioLimits(batch=BatchLimits(max_rows=8), max_backlog_s=60.0, prompt_cache_size=8)


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    made = Pipeline.from_pretrained(export_tiny(tiny_folder, tmp_path_factory.mktemp("exports") / "x", knobs=KNOBS))
    made.make_rows_independent()
    return made


@pytest.fixture
def studio(pipeline: Pipeline) -> Iterator[Studio]:
    made = Studio(pipeline, limits=LIMITS)
    yield made
    made.close()


async def pictures(studio: Studio, order: Order, *, num_previews: int = 0, within_s: float = 60.0) -> list[Drawn]:
    return [drawn async for drawn in studio.draw(order, num_previews=num_previews, within_s=within_s)]


@pytest.mark.parametrize(
    ("num_steps", "num_previews", "expected"),
    [(4, 0, ()), (4, 1, (2,)), (4, 2, (1, 3)), (4, 3, (1, 2, 3)), (4, 9, (1, 2, 3)), (1, 3, ()), (28, 2, (9, 19))],
)
def test_previews_come_evenly(num_steps: int, num_previews: int, expected: tuple[int, ...]) -> None:
    assert preview_steps(num_steps, num_previews) == expected


def test_a_crowd_of_all_kinds_gets_what_each_would_get_alone(studio: Studio, pipeline: Pipeline) -> None:
    crowd = [
        ORDER,
        replace(ORDER, seeds=(1, 2), num_inference_steps=2),
        replace(ORDER, task="edit", image=photo(), num_inference_steps=3),
        replace(ORDER, task="inpaint", image=photo(), hole=hole(), num_inference_steps=1),
        replace(ORDER, height=48, width=80),
    ]

    async def together() -> list[list[Drawn]]:
        return await asyncio.gather(*(pictures(studio, order) for order in crowd))

    for order, found in zip(crowd, asyncio.run(together()), strict=True):
        alone = asyncio.run(pictures(studio, order))
        assert [one.index for one in found] == list(range(len(order.seeds)))
        assert all(np.array_equal(ours.pixels, theirs.pixels) for ours, theirs in zip(found, alone, strict=True))
    (expected,) = pipeline.generate([ORDER.prompt], seed=[5])
    assert np.array_equal(asyncio.run(pictures(studio, ORDER))[0].pixels, np.asarray(expected))


def test_orders_that_come_together_step_together(studio: Studio) -> None:
    async def together() -> list[list[Drawn]]:
        return await asyncio.gather(*(pictures(studio, replace(ORDER, seeds=(seed,))) for seed in range(6)))

    rows = [drawn.timings.rows for (drawn,) in asyncio.run(together()) if drawn.timings]
    assert max(max(shared) for shared in rows) >= 3
    assert all(len(shared) == 4 for shared in rows)


def test_previews_become_the_picture(studio: Studio) -> None:
    drawn = asyncio.run(pictures(studio, replace(ORDER, seeds=(1, 2)), num_previews=3))
    for index in (0, 1):
        mine = [one for one in drawn if one.index == index]
        assert [one.partial for one in mine] == [0, 1, 2, None]
        far, near = (abs(mine[-1].pixels.astype(int) - mine[place].pixels).mean() for place in (0, 2))
        assert 0 < near < far


def test_timings_add_up(studio: Studio) -> None:
    began = time.monotonic()
    ((first,), (second,)) = (asyncio.run(pictures(studio, ORDER)) for _ in range(2))
    took = time.monotonic() - began
    assert first.timings
    assert second.timings
    assert (first.timings.preparation.prompt_cached, second.timings.preparation.prompt_cached) == (False, True)
    known = [
        each.queue_s + sum(each.steps_s) + each.decode_s + each.preparation.prompt_s + each.preparation.given_s
        for each in (first.timings, second.timings)
    ]
    assert 0.5 * took < sum(known) <= took
    assert min(first.timings.steps_s) > 0


def test_whoever_stops_listening_leaves_the_loop(studio: Studio) -> None:
    async def impatient() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await pictures(studio, replace(ORDER, seeds=tuple(range(200))))

    asyncio.run(impatient())
    assert studio.admission.backlog == 0
    assert len(studio.loop) == 0
    (drawn,) = asyncio.run(pictures(studio, ORDER))
    assert drawn.timings
    assert drawn.timings.rows == (1, 1, 1, 1)


def test_past_the_deadline_the_order_fails_and_makes_room(studio: Studio) -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(pictures(studio, replace(ORDER, seeds=tuple(range(100))), within_s=0.2))
    assert studio.admission.backlog == 0


def test_too_much_work_is_refused_at_once(pipeline: Pipeline) -> None:
    studio = Studio(pipeline, limits=replace(LIMITS, max_backlog_s=0.5))

    async def crowd() -> list[list[Drawn] | BaseException]:
        await pictures(studio, ORDER)
        orders = [replace(ORDER, seeds=tuple(range(20))) for _ in range(10)]
        return await asyncio.gather(*(pictures(studio, order) for order in orders), return_exceptions=True)

    try:
        found = asyncio.run(crowd())
    finally:
        studio.close()
    refused = [one for one in found if isinstance(one, Overloaded)]
    assert 1 <= len(refused) < len(found)
    assert all(one.retry_after_s >= 1 for one in refused)
    assert all(isinstance(one, (list, Overloaded)) for one in found)


def test_what_the_model_cannot_do_fails_without_a_trace(studio: Studio) -> None:
    with pytest.raises(ValueError, match="9 steps"):
        asyncio.run(pictures(studio, replace(ORDER, num_inference_steps=9)))
    assert studio.admission.backlog == 0
    assert len(asyncio.run(pictures(studio, ORDER))) == 1


def test_a_prompt_whose_end_would_be_cut_is_refused(studio: Studio) -> None:
    limit = studio.pipeline.prompt_encoder.token_limit
    fitting = replace(ORDER, prompt=" ".join(["cat"] * (limit - 2)), num_inference_steps=1)
    (drawn,) = asyncio.run(pictures(studio, fitting))
    assert drawn.timings
    assert drawn.timings.preparation.prompt_tokens == limit
    with pytest.raises(PromptTooLong, match=rf"has {limit + 1} tokens, and this model reads {limit}"):
        asyncio.run(pictures(studio, replace(fitting, prompt=fitting.prompt + " cat")))


def test_facts_tell_what_a_student_and_its_model_can_do(pipeline: Pipeline, tiny_folder: Path) -> None:
    facts = facts_of(pipeline, fingerprint="f")
    assert facts == ModelFacts("f", True, 64, 16, 256, 4, 4, KNOBS)
    teacher = facts_of(TeacherPipeline.from_pretrained(tiny_folder), fingerprint="f")
    assert (teacher.guided, teacher.edits, teacher.default_steps) == (True, False, 28)
    assert teacher.knobs
