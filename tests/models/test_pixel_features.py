"""Image networks as judges: shapes at any aspect ratio, gradients to the pixels, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from ladd_ray.data import stickers
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.models.pixel_features import (
    DinoV2Features,
    EfficientNetLiteFeatures,
    PixelFeatures,
    absolute_features,
    load_features,
)


@pytest.fixture(scope="module")
def efficientnet() -> EfficientNetLiteFeatures:
    return EfficientNetLiteFeatures().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of six small layers with random weights."""
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=6, num_attention_heads=2, mlp_ratio=2, patch_size=14, image_size=56
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("dino")
        Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(dino_folder: Path) -> DinoV2Features:
    return DinoV2Features.from_pretrained(str(dino_folder), side=56).eval().requires_grad_(False)


def pictures(count: int = 2, *, height: int = 64, width: int = 64) -> Tensor:
    drawn = np.stack([stickers.render(stickers.scene(0, index)) for index in range(count)])
    images = rearrange(torch.from_numpy(drawn), "b h w c -> b c h w").float() / 127.5 - 1
    return images[:, :, :height, :width]


def test_efficientnet_gives_four_stages(efficientnet: EfficientNetLiteFeatures) -> None:
    maps, embedding = efficientnet(pictures())
    assert [tuple(one.shape) for one in maps] == [(2, 24, 24, 24), (2, 40, 12, 12), (2, 112, 6, 6), (2, 320, 3, 3)]
    assert tuple(one.shape[1] for one in maps) == efficientnet.map_sizes
    assert embedding.shape == (2, efficientnet.embedding_size)


def test_efficientnet_sees_what_the_scores_see(efficientnet: EfficientNetLiteFeatures) -> None:
    """Its deepest stage, taken on through the rest of the network, is the feature vector of KID."""
    drawn = np.stack([stickers.render(stickers.scene(0, index)) for index in range(2)])
    network = efficientnet.network
    deepest = efficientnet(pictures()).maps[-1]
    ours = network._swish(network._bn1(network._conv_head(deepest))).mean(dim=(2, 3))
    # The scores clamp what bicubic resizing overshoots; a clamp would kill gradients here.
    theirs = EffNetLite0Features()(drawn)
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.99


def test_dino_gives_the_tokens_of_each_quarter(dino: DinoV2Features) -> None:
    images = pictures()
    maps, embedding = dino(images)
    assert dino.tapped_layers == (0, 2, 3, 5)
    assert [tuple(one.shape) for one in maps] == [(2, 32, 4, 4)] * 4
    pixels = (dino.resized(images) + 1) / 2
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = dino.model((pixels - mean) / std, output_hidden_states=True)
    torch.testing.assert_close(embedding, expected.pooler_output)
    for layer, found in zip(dino.tapped_layers, maps, strict=True):
        tokens = expected.hidden_states[layer + 1][:, 1:]
        torch.testing.assert_close(rearrange(found, "b d i j -> b (i j) d"), tokens)


@pytest.mark.parametrize("name", ["efficientnet", "dino"])
@pytest.mark.parametrize(("height", "width"), [(64, 32), (32, 64), (64, 64)])
def test_pictures_keep_their_aspect_ratio(request: pytest.FixtureRequest, name: str, height: int, width: int) -> None:
    features: PixelFeatures = request.getfixturevalue(name)
    seen_height, seen_width = features.resized(pictures(height=height, width=width)).shape[-2:]
    assert seen_height % features.multiple == seen_width % features.multiple == 0
    assert (seen_height > seen_width) == (height > width)
    assert 0.6 < seen_height * seen_width / features.side**2 < 1.6
    rows, columns = features(pictures(height=height, width=width)).maps[-1].shape[-2:]
    assert (rows, columns) == (seen_height // features.multiple, seen_width // features.multiple)


@pytest.mark.parametrize("name", ["efficientnet", "dino"])
def test_gradients_reach_the_pixels_and_stay_nowhere_else(request: pytest.FixtureRequest, name: str) -> None:
    features: PixelFeatures = request.getfixturevalue(name)
    for tap in range(len(features.map_sizes)):
        images = pictures().requires_grad_()
        features(images).maps[tap].square().mean().backward()
        assert images.grad is not None
        assert images.grad.isfinite().all()
        assert images.grad.any()
    assert all(weight.grad is None for weight in features.parameters())


@pytest.mark.parametrize("name", ["efficientnet", "dino"])
def test_half_precision_pictures_are_taken(request: pytest.FixtureRequest, name: str) -> None:
    features: PixelFeatures = request.getfixturevalue(name)
    maps, embedding = features(pictures().bfloat16())
    assert {one.dtype for one in (*maps, embedding)} == {torch.float32}


def test_networks_are_found_by_name(dino_folder: Path) -> None:
    assert isinstance(load_features("efficientnet"), EfficientNetLiteFeatures)
    assert load_features("efficientnet").side == 96
    found = load_features(str(dino_folder))
    assert isinstance(found, DinoV2Features)
    assert found.side == 224
    assert load_features(str(dino_folder), side=56).side == 56


def test_other_folders_are_refused(tmp_path: Path, tiny_folder: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path, tiny_folder / "vae"):
        with pytest.raises(ValueError, match="holds no DINOv2 model"):
            load_features(str(folder))


def test_folders_become_absolute_and_names_stay(dino_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dino_folder.parent)
    assert absolute_features(dino_folder.name) == str(dino_folder.resolve())
    for name in ("efficientnet", "facebook/dinov2-small"):
        assert absolute_features(name) == name
