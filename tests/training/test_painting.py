"""Drawing for an evaluation in this process: what a picture depends on, and in which order pictures arrive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ladd_ray.training import painting
from ladd_ray.training.painting import Contender, Crew, Painter, Picture, Sample, paint, paint_all, with_repeats

CREW = Crew(num_workers=0, device="cpu", threads=1, precision="fp32", batch_size=3)
SAMPLES = [
    Sample(number, prompt, *size)
    for number, (prompt, size) in enumerate(
        zip(["a red apple", "two blue cat", "a banana", "a cat"], [(64, 64), (32, 48)] * 2, strict=True)
    )
]
SQUARES = [replace(sample, height=64, width=64) for sample in SAMPLES]


@pytest.fixture(scope="module")
def student(tiny_folder: Path) -> Contender:
    return Contender("student", "student, 2 steps", str(tiny_folder), 7, 2, levels=(1.0, 0.75, 0.5, 0.25))


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path) -> Contender:
    return Contender("teacher", "teacher, 2 steps", str(tiny_folder), 7, 2, guidance_scale=3.0)


def difference(ours: Picture, theirs: Picture) -> float:
    return float(np.abs(ours.astype(int) - theirs).mean())


def test_pictures_of_several_sizes_arrive_in_the_order_of_the_samples(student: Contender, teacher: Contender) -> None:
    painted = list(paint([student, teacher], SAMPLES, crew=CREW))
    assert [contender.name for contender, _ in painted] == ["student", "teacher"]
    for contender, pictures in painted:
        assert [picture.shape for picture in pictures] == [(64, 64, 3), (32, 48, 3)] * 2
        for sample, picture in zip(SAMPLES, pictures, strict=True):
            alone = Painter(CREW).paint(contender, [sample])[0]
            assert difference(picture, alone) < 0.5, "a picture depends on its batch"


def test_number_prompt_seed_and_contender_decide_a_picture(student: Contender, teacher: Contender) -> None:
    painter, (sample, *_) = Painter(CREW), SQUARES
    (picture,) = painter.paint(student, [sample])
    assert np.array_equal(picture, painter.paint(student, [sample])[0])
    others = [
        painter.paint(student, [replace(sample, number=1)]),
        painter.paint(replace(student, seed=8), [sample]),
        painter.paint(replace(student, num_inference_steps=1), [sample]),
        painter.paint(teacher, [sample]),
        painter.paint(replace(teacher, guidance_scale=1.0), [sample]),
        painter.paint(replace(teacher, shift=3.0), [sample]),
    ]
    assert all(not np.array_equal(other[0], picture) for other in others)
    assert len({other.tobytes() for other in others}) == len(others)


def test_an_untrained_network_has_the_same_random_weights_every_time(student: Contender) -> None:
    fresh = replace(student, untrained=True)
    first, second = (Painter(CREW).paint(fresh, SQUARES[:2]) for _ in range(2))
    assert np.array_equal(first, second)
    assert difference(first, Painter(CREW).paint(student, SQUARES[:2])) > 1


def test_a_model_is_loaded_once_for_all_its_contenders(
    student: Contender, teacher: Contender, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    sampler = painting.Sampler

    def load(model: str, **settings: object) -> object:
        loaded.append((model, settings["untrained"]))
        return sampler(model, **settings)

    monkeypatch.setattr(painting, "Sampler", load)
    contenders = [student, teacher, replace(teacher, name="fresh", untrained=True)]
    for _ in paint(contenders, SQUARES, crew=replace(CREW, batch_size=2)):
        pass
    assert loaded == [(student.model, False), (student.model, True)]


def test_all_pictures_at_once(student: Contender, teacher: Contender) -> None:
    painted = paint_all([student, teacher], SQUARES, crew=CREW)
    assert {name: images.shape for name, images in painted.items()} == {
        "student": (4, 64, 64, 3),
        "teacher": (4, 64, 64, 3),
    }


def test_repeats_follow_in_rows() -> None:
    assert with_repeats(["a", "b", "c"], count=2, times=3) == ["a", "b", "c", "a", "a", "a", "b", "b", "b"]
