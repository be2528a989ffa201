"""Drawing for an evaluation in this process: what a picture depends on, and in which order pictures arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ladd_ray.data.edits import edit
from ladd_ray.data.masks import inpainting_mask
from ladd_ray.data.stickers import render, scene
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Knob, Knobs, Strengths
from ladd_ray.models.student import silent_embedding
from ladd_ray.models.widening import widen
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


@pytest.fixture(scope="module")
def wide(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that edits and inpaints."""
    generator = torch.Generator().manual_seed(0)
    weights = widen(load_transformer(tiny_folder, precision="fp32")).state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    folder = tmp_path_factory.mktemp("wide") / "pipeline"
    return str(export_pipeline(tiny_folder, moved, folder, levels=None, provenance={}))


def edit_sample(number: int) -> Sample:
    drawn = edit(0, number)
    return Sample(number, drawn.instruction, 64, 64, source=render(drawn.source))


def hole_sample(number: int) -> Sample:
    drawn = scene(0, number)
    return Sample(number, drawn.caption, 64, 64, source=render(drawn), hole=inpainting_mask(0, number, drawn))


@pytest.mark.parametrize("sample_of", [edit_sample, hole_sample])
def test_given_pictures_decide_what_is_drawn_and_batches_do_not(
    student: Contender, teacher: Contender, wide: str, sample_of: Callable[[int], Sample]
) -> None:
    first, second = sample_of(0), sample_of(1)
    for contender in (replace(student, model=wide), replace(teacher, model=wide)):
        painter = Painter(CREW)
        pictures = painter.paint(contender, [first, second])
        assert difference(pictures[1], painter.paint(contender, [second])[0]) < 0.5
        assert second.source is not None
        other = replace(second, source=255 - second.source)
        assert difference(pictures[1], painter.paint(contender, [other])[0]) > 1


def test_only_the_hole_is_drawn(student: Contender, wide: str) -> None:
    sample = hole_sample(2)
    (picture,) = Painter(CREW).paint(replace(student, model=wide), [sample])
    assert sample.source is not None and sample.hole is not None
    assert np.array_equal(picture[~sample.hole], sample.source[~sample.hole])
    assert difference(picture[sample.hole], sample.source[sample.hole]) > 1


def test_image_guidance_changes_edits(teacher: Contender, wide: str) -> None:
    unled = replace(teacher, model=wide)
    pictures = [Painter(CREW).paint(replace(unled, image_guidance_scale=scale), [edit_sample(0)]) for scale in (1, 3)]
    assert difference(*pictures) > 0.5


def test_knobs_change_edits(student: Contender, tiny_folder: Path, tmp_path: Path) -> None:
    knobs = Knobs(text=Knob(1.5, 5.0, 3.0), image=Knob(1.0, 2.5, 1.5))
    transformer = widen(load_transformer(tiny_folder, precision="fp32"))
    denoiser = SD3Denoiser(transformer, strengths=silent_embedding(transformer, knobs, seed=0))
    generator = torch.Generator().manual_seed(0)
    state = denoiser.state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}
    folder = export_pipeline(tiny_folder, moved, tmp_path / "x", levels=(1.0, 0.5), provenance={}, knobs=knobs)

    untold, painter = replace(student, model=str(folder)), Painter(CREW)
    default, same, other = (
        painter.paint(replace(untold, strengths=strengths), [edit_sample(0)])
        for strengths in (None, Strengths(3.0, 1.5), Strengths(5.0, 1.5))
    )
    assert np.array_equal(default, same)
    assert difference(default, other) > 0.1


def test_samples_of_several_tasks_make_no_batch(student: Contender, wide: str) -> None:
    with pytest.raises(AssertionError, match="several tasks"):
        Painter(CREW).paint(replace(student, model=wide), [edit_sample(0), hole_sample(1)])


def test_all_pictures_at_once(student: Contender, teacher: Contender) -> None:
    painted = paint_all([student, teacher], SQUARES, crew=CREW)
    assert {name: images.shape for name, images in painted.items()} == {
        "student": (4, 64, 64, 3),
        "teacher": (4, 64, 64, 3),
    }


def test_repeats_follow_in_rows() -> None:
    assert with_repeats(["a", "b", "c"], count=2, times=3) == ["a", "b", "c", "a", "a", "a", "b", "b", "b"]
