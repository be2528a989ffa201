"""A student's export, opened and sampled as a user would."""

import numpy as np
import pytest
import torch

from ladd_ray.inference import Pipeline
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer

PROMPTS = ["a red apple", "two blue cat", "a green banana on red background"]


@pytest.fixture(scope="module")
def pipeline(tiny_folder, tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    weights = load_transformer(tiny_folder, precision="fp32").state_dict()
    # The final layers of a fresh network may be zero: a student that says nothing would pass any test.
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    folder = tmp_path_factory.mktemp("export") / "student"
    export_pipeline(tiny_folder, moved, folder, levels=(1.0, 0.75, 0.5, 0.25), provenance={})
    return Pipeline.from_pretrained(folder)


def pixels(images):
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_levels_and_size_come_from_the_export(pipeline):
    assert pipeline.levels == (1.0, 0.75, 0.5, 0.25)
    assert [image.size for image in pipeline.generate(PROMPTS)] == [(64, 64)] * 3


def test_generation_is_reproducible_and_follows_the_seed(pipeline):
    first = pixels(pipeline.generate(PROMPTS, seed=3))
    assert np.array_equal(first, pixels(pipeline.generate(PROMPTS, seed=3)))
    assert abs(first - pixels(pipeline.generate(PROMPTS, seed=4))).mean() > 1


def test_a_picture_does_not_depend_on_its_batch(pipeline):
    together = pixels(pipeline.generate(PROMPTS, seed=[5, 6, 7]))
    alone = pixels(pipeline.generate(PROMPTS[1:2], seed=6))
    assert abs(together[1] - alone[0]).max() <= 2


def test_one_seed_gives_equal_prompts_different_pictures(pipeline):
    first, second = pixels(pipeline.generate(["a red apple"] * 2, seed=0))
    assert abs(first - second).mean() > 1


def test_prompt_steps_and_size_matter(pipeline):
    base = pixels(pipeline.generate(["a red apple"], seed=0))
    assert abs(base - pixels(pipeline.generate(["two blue cat"], seed=0))).max() > 1
    assert abs(base - pixels(pipeline.generate(["a red apple"], seed=0, num_inference_steps=1))).mean() > 0.5
    (wide,) = pipeline.generate(["a red apple"], height=48, width=80)
    assert wide.size == (80, 48)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_inference_steps": 5}, "5 steps"),
        ({"num_inference_steps": 0}, "0 steps"),
        ({"seed": [1, 2]}, "2 seeds for 3 prompts"),
        ({"height": 60}, "multiples of 16"),
        ({"width": 0}, "multiples of 16"),
    ],
)
def test_wrong_requests_say_what_is_right(pipeline, wrong, message):
    with pytest.raises(ValueError, match=message):
        pipeline.generate(PROMPTS, **wrong)


def test_no_prompt_is_refused(pipeline):
    with pytest.raises(ValueError, match="at least one prompt"):
        pipeline.generate([])


def test_a_folder_that_is_no_export_is_refused(tiny_folder):
    with pytest.raises(ValueError, match="no distilled student"):
        Pipeline.from_pretrained(tiny_folder)
