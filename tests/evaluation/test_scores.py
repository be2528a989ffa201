"""KID against a brute-force sum, its order on pictures that get worse, and diversity in closed form."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from ladd_ray.data import stickers
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.scores import diversity, kid, split_half_kid


def brute_force_kid(x, y):
    """The double sums of the definition, term by term, in Python floats."""
    x, y = x.double().tolist(), y.double().tolist()
    width, n = len(x[0]), len(x)

    def kernel(a, b):
        return (sum(i * j for i, j in zip(a, b, strict=True)) / width + 1) ** 3

    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(a, b) for a in x for b in y)
    return within / (n * (n - 1)) - 2 * between / n**2


def test_kid_equals_the_double_sum():
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(12, 7, generator=generator), torch.randn(12, 7, generator=generator) + 1
    assert kid(x, y).value == pytest.approx(brute_force_kid(x, y), rel=1e-9)


def test_kid_is_reproducible_and_leaves_the_generator_alone():
    x, y = torch.rand(40, 7), torch.rand(40, 7)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = kid(x, y)
    assert torch.equal(torch.rand(3), expected)
    assert kid(x, y) == first
    assert first.subset_std > 0


def test_unequal_sets_are_cut_to_the_smaller():
    x = torch.rand(40, 7)
    score = kid(x, torch.rand(25, 7))
    assert (score.num_reference, score.num_generated) == (40, 25)
    assert abs(score.value) < 0.5


def test_scores_are_plain_json():
    features = torch.rand(8, 5)
    scores = [kid(features, features + 1), split_half_kid(features), diversity(features.view(2, 4, 5))]
    for score in scores:
        assert set(json.loads(json.dumps(score.to_dict()))) == {field.name for field in fields(score)}
        assert "EffNetLite0" in score.name


def test_misshapen_sets_are_refused():
    with pytest.raises(ValueError, match="four pictures"):
        kid(torch.rand(3, 5), torch.rand(8, 5))
    with pytest.raises(ValueError, match="one feature network"):
        kid(torch.rand(8, 5), torch.rand(8, 6))
    with pytest.raises(ValueError, match="with two seeds"):
        diversity(torch.rand(8, 1, 5))


def test_diversity_of_equal_and_of_orthogonal_pictures():
    same = torch.rand(5, 1, 9).expand(5, 3, 9)
    assert diversity(same).value == pytest.approx(0, abs=1e-12)
    orthogonal = torch.eye(4).expand(2, 4, 4)
    teacher = diversity(orthogonal)
    assert teacher.value == pytest.approx(1)
    one_copy = torch.eye(4)[[0, 0, 1, 2]].expand(2, 4, 4)
    assert diversity(one_copy, teacher=teacher).relative_to_teacher == pytest.approx(5 / 6)


def test_diversity_compares_within_a_prompt_only():
    rows = torch.eye(3)[:, None].expand(3, 2, 3)
    assert diversity(rows).value == pytest.approx(0, abs=1e-12)


def blurred(picture):
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5)))


def test_kid_grows_as_pictures_get_worse():
    count = 96
    scenes = np.stack([stickers.render(stickers.scene(1, index)) for index in range(2 * count)])
    real, other = scenes[:count], scenes[count:]
    noise = np.random.default_rng(0).normal(0, 40, other.shape)
    noisy = np.clip(other + noise, 0, 255).astype(np.uint8)
    network = EffNetLite0Features()
    reference = network(real)
    sets = [other, np.stack([blurred(picture) for picture in other]), noisy]
    same, blur, noise_level = (kid(reference, network(pictures)).value for pictures in sets)
    floor = split_half_kid(reference)
    assert abs(floor.mean) < 0.05
    assert abs(same) < 0.1
    assert same + 0.1 < blur < noise_level
