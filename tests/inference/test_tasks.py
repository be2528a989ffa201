"""Edit and inpaint, by a student and by the guided model, from a folder with random weights of three tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.inference import Pipeline, TeacherPipeline
from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.widening import widen

TEXTS = ["a red apple", "two blue cat"]
HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One export of each kind."""
    generator, root = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("exports")
    state = widen(load_transformer(tiny_folder, precision="fp32")).state_dict()
    weights = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}
    levels = {"student": (1.0, 0.75, 0.5, 0.25), "teacher": None}
    return {
        name: export_pipeline(tiny_folder, weights, root / name, levels=found, provenance={})
        for name, found in levels.items()
    }


@pytest.fixture(scope="module", params=["student", "teacher"])
def pipeline(request: pytest.FixtureRequest, folders: dict[str, Path]) -> TaskPipeline:
    if request.param == "student":
        return Pipeline.from_pretrained(folders["student"])
    found = TeacherPipeline.from_pretrained(folders["teacher"], guidance_scale=3.0, image_guidance_scale=1.5)
    found.default_steps = 3
    return found


def picture(seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def hole() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[8:29, 16:50] = True
    return mask


def pixels(images: list[Image.Image]) -> NDArray[np.int64]:
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_editing_follows_picture_and_instruction(pipeline: TaskPipeline) -> None:
    base = pixels(pipeline.edit([picture(0), picture(1)], TEXTS, seed=[5, 6]))
    assert base.shape == (2, HEIGHT, WIDTH, 3)
    assert np.array_equal(base, pixels(pipeline.edit([picture(0), picture(1)], TEXTS, seed=[5, 6])))
    assert abs(base[0] - pixels(pipeline.edit([picture(2)], TEXTS[:1], seed=[5]))[0]).max() > 2
    assert abs(base[0] - pixels(pipeline.edit([picture(0)], TEXTS[1:], seed=[5]))[0]).max() > 2
    alone = pixels(pipeline.edit([Image.fromarray(picture(1))], TEXTS[1:], seed=[6]))
    assert abs(base[1] - alone[0]).max() <= 2


def test_inpainting_keeps_every_pixel_outside_of_the_hole(pipeline: TaskPipeline) -> None:
    given, mask = picture(0), hole()
    (filled,) = pixels(pipeline.inpaint([given], [mask], TEXTS[:1], seed=1))
    assert np.array_equal(filled[~mask], given[~mask])
    assert abs(filled[mask] - given[mask].astype(int)).mean() > 1
    as_image = Image.fromarray(mask.astype(np.uint8) * 255)
    assert np.array_equal(filled, pixels(pipeline.inpaint([Image.fromarray(given)], [as_image], TEXTS[:1], seed=1))[0])


def test_what_was_in_the_hole_does_not_matter(pipeline: TaskPipeline) -> None:
    first, second = picture(0), picture(0).copy()
    second[hole()] = 255 - second[hole()]
    drawn = [pixels(pipeline.inpaint([given], [hole()], TEXTS[:1], seed=1)) for given in (first, second)]
    assert np.array_equal(*drawn)


def test_generating_takes_no_picture(pipeline: TaskPipeline) -> None:
    images = pipeline.generate(TEXTS, seed=1, height=HEIGHT, width=WIDTH)
    assert [image.size for image in images] == [(WIDTH, HEIGHT)] * 2


def test_guidance_changes_edits_and_image_guidance_leaves_the_other_tasks_alone(folders: dict[str, Path]) -> None:
    def drawn(**scales: float) -> list[NDArray[np.int64]]:
        teacher = TeacherPipeline.from_pretrained(folders["teacher"], **scales)
        teacher.default_steps = 2
        return [
            pixels(teacher.edit([picture()], TEXTS[:1])),
            pixels(teacher.inpaint([picture()], [hole()], TEXTS[:1])),
            pixels(teacher.generate(TEXTS[:1])),
        ]

    base = drawn(guidance_scale=4.0)
    image = drawn(guidance_scale=4.0, image_guidance_scale=3.0)
    text = drawn(guidance_scale=1.0)
    assert [not np.array_equal(ours, theirs) for ours, theirs in zip(base, image, strict=True)] == [True, False, False]
    assert not any(np.array_equal(ours, theirs) for ours, theirs in zip(base, text, strict=True))


def test_wrong_pictures_say_what_is_right(pipeline: TaskPipeline) -> None:
    with pytest.raises(ValueError, match="do not make a batch"):
        pipeline.edit([picture(), picture()[:32]], TEXTS)
    with pytest.raises(ValueError, match="do not make a batch"):
        pipeline.edit([picture().astype(np.float32)], TEXTS[:1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="1 pictures for 2 texts"):
        pipeline.edit([picture()], TEXTS)
    with pytest.raises(ValueError, match="must be multiples of 16"):
        pipeline.edit([picture()[:40]], TEXTS[:1])
    with pytest.raises(ValueError, match="give one mask of the same size"):
        pipeline.inpaint([picture()], [hole()[:32]], TEXTS[:1])
    with pytest.raises(ValueError, match="is no mask"):
        pipeline.inpaint([picture()], [picture()], TEXTS[:1])


def test_a_model_that_only_generates_says_so(tiny_folder: Path) -> None:
    teacher = TeacherPipeline.from_pretrained(tiny_folder)
    with pytest.raises(ValueError, match="this model only generates"):
        teacher.edit([picture()], TEXTS[:1])
    with pytest.raises(ValueError, match="this model only generates"):
        teacher.inpaint([picture()], [hole()], TEXTS[:1])
