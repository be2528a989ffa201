"""Turning the guidance of a student with knobs, of one without, and of the guided model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.inference import Pipeline, TeacherPipeline
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Knob, Knobs, StrengthEmbedding, Strengths
from ladd_ray.models.widening import widen

KNOBS = Knobs(text=Knob(1.5, 5.0, 3.0), image=Knob(1.0, 2.5, 1.5))
TEXTS = ["a red apple"]


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same wide weights: with knobs, with the knobs at one setting, and as a model of many steps."""
    generator, root = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("exports")
    transformer = widen(load_transformer(tiny_folder, precision="fp32"))
    embedding = StrengthEmbedding(int(transformer.config.pooled_projection_dim), knobs=KNOBS)
    state = SD3Denoiser(transformer, strengths=embedding).state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}
    levels = (1.0, 0.5)
    bare = {name: weight for name, weight in moved.items() if name.startswith("transformer.")}
    return {
        "knobs": export_pipeline(tiny_folder, moved, root / "knobs", levels=levels, provenance={}, knobs=KNOBS),
        "fixed": export_pipeline(
            tiny_folder, moved, root / "fixed", levels=levels, provenance={}, knobs=KNOBS, strengths=Strengths(4, 2)
        ),
        "teacher": export_pipeline(tiny_folder, bare, root / "teacher", levels=None, provenance={}),
    }


@pytest.fixture(scope="module")
def pipeline(folders: dict[str, Path]) -> Pipeline:
    return Pipeline.from_pretrained(folders["knobs"])


@pytest.fixture(scope="module")
def fixed(folders: dict[str, Path]) -> Pipeline:
    return Pipeline.from_pretrained(folders["fixed"])


@pytest.fixture(scope="module")
def teacher(folders: dict[str, Path]) -> TeacherPipeline:
    found = TeacherPipeline.from_pretrained(folders["teacher"], guidance_scale=3.0, image_guidance_scale=1.5)
    found.default_steps = 2
    return found


def picture() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def pixels(images: list[Image.Image]) -> NDArray[np.int64]:
    return np.stack([np.asarray(image) for image in images]).astype(int)


@pytest.mark.parametrize("model", ["pipeline", "teacher"])
def test_every_knob_changes_what_is_drawn(model: str, request: pytest.FixtureRequest) -> None:
    drawing = request.getfixturevalue(model)
    base = pixels(drawing.edit([picture()], TEXTS))
    assert np.array_equal(base, pixels(drawing.edit([picture()], TEXTS, text_guidance=3.0, image_guidance=1.5)))
    assert abs(base - pixels(drawing.edit([picture()], TEXTS, text_guidance=5.0))).max() > 2
    assert abs(base - pixels(drawing.edit([picture()], TEXTS, image_guidance=2.5))).max() > 2
    drawn = pixels(drawing.generate(TEXTS))
    assert np.array_equal(drawn, pixels(drawing.generate(TEXTS, text_guidance=3.0)))
    assert abs(drawn - pixels(drawing.generate(TEXTS, text_guidance=5.0))).max() > 2


def test_a_fixed_export_draws_as_the_knobs_at_that_setting(pipeline: Pipeline, fixed: Pipeline) -> None:
    turned = pixels(pipeline.edit([picture()], TEXTS, text_guidance=4.0, image_guidance=2.0))
    assert abs(turned - pixels(fixed.edit([picture()], TEXTS))).max() <= 1


def test_ranges_come_with_the_model(pipeline: Pipeline, fixed: Pipeline) -> None:
    assert pipeline.knobs == KNOBS
    assert fixed.knobs is None


def test_strengths_out_of_range_and_missing_knobs_say_so(pipeline: Pipeline, fixed: Pipeline) -> None:
    with pytest.raises(ValueError, match=r"text_guidance = 9 lies outside of 1\.5\.\.5"):
        pipeline.generate(TEXTS, text_guidance=9.0)
    with pytest.raises(ValueError, match=r"image_guidance = 3 lies outside of 1\.\.2\.5"):
        pipeline.edit([picture()], TEXTS, image_guidance=3.0)
    with pytest.raises(ValueError, match=r"no guidance knobs.*student\.guidance_knobs"):
        fixed.edit([picture()], TEXTS, text_guidance=3.0)
