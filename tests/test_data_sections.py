"""The settings of training sets: what contradicts itself is refused with the fix in the message."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ladd_ray.config import override
from ladd_ray.data_sections import DataConfig, TaskShares
from ladd_ray.recipes import stickers

THREE = {"generate": 0.5, "edit": 0.3, "inpaint": 0.2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance_scale": 1.0}, "set data.allow_unguided"),
        ({"guidance_range": (1.0, 4.0)}, "set data.allow_unguided"),
        ({"guidance_range": (4.0, 2.0)}, "a smaller number and a larger one"),
        ({"image_guidance_range": (2.0, 2.0)}, "a smaller number and a larger one"),
        ({"buckets": ((64, 64), (64, 64))}, "must be distinct sizes"),
        ({"buckets": ((64, 70),)}, "multiples of 16"),
        ({"tasks": {"generate": 0, "edit": 0, "inpaint": 0}}, "give at least one task a share"),
        ({"guidance_scale": 1.0, "allow_unguided": True, "tasks": THREE}, "set data.image_guidance_scale = 1"),
        ({"source": "/pictures", "tasks": THREE}, "name a file in data.prompts"),
        ({"source": "/pictures", "tasks": THREE, "prompts": "a.txt", "feed": "online"}, "set it to stored"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(settings)


def test_knobs_want_rows_of_many_strengths() -> None:
    with pytest.raises(ValueError, match=r"guidance_knobs learns from rows"):
        override(stickers(), {"student.guidance_knobs": True})
    override(stickers(), {"student.guidance_knobs": True, "data.guidance_range": (1.5, 6.0)})


def test_one_strength_is_a_range_without_width() -> None:
    assert DataConfig(guidance_scale=4.0).text_guidance == (4.0, 4.0)
    assert DataConfig(guidance_range=(2.0, 6.0)).text_guidance == (2.0, 6.0)
    assert DataConfig().image_guidance == (1.5, 1.5)


def test_sizes_are_the_buckets_or_the_size_of_evaluation() -> None:
    assert DataConfig(height=64, width=96).sizes == ((64, 96),)
    assert DataConfig(buckets=((64, 64), (96, 64))).sizes == ((64, 64), (96, 64))


def test_readers_leave_prompts_to_the_teacher_where_files_are_read() -> None:
    settings = {"source": "/pictures", "tasks": THREE, "prompts": "a.txt", "views": 3, "image_column": "jpg", "seed": 7}
    reader = DataConfig.model_validate(settings).pictures
    assert reader.tasks == TaskShares(generate=0.0, edit=0.3, inpaint=0.2)
    assert (reader.source, reader.views, reader.image_column, reader.seed) == ("/pictures", 3, "jpg", 7)
    assert reader.heldout_share == 0
    real = DataConfig.model_validate({**settings, "origin": "real"}).pictures
    assert real.tasks == TaskShares.model_validate(THREE)


def test_files_are_read_only_where_pictures_are_wanted() -> None:
    assert not DataConfig(source="/pictures", prompts="a.txt").reads_files
    assert DataConfig(source="/pictures", origin="real").reads_files
    assert not DataConfig(origin="real").draws_prompts


def test_teachers_stand_beside_the_workers_only_while_rows_are_drawn_online() -> None:
    assert DataConfig(online_teachers=3).teachers_beside == 0
    assert DataConfig(online_teachers=3, feed="online").teachers_beside == 3
