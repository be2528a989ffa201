"""The judge of the embedded world: a small network that reads from a picture which objects are where, in which style,
and on which background. It stands where GenEval (arXiv 2310.11513) has an object detector. [ours]

Every cell of 8 x 8 pixels says whether the middle of an object lies near, of which concept and style it is, and where
exactly its square lies; the strongest cells become the objects.

Shapes: n pictures, h w pixels, y x cells, k concepts and "nothing" (last), s styles, g backgrounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CELL = 8
"""Pixels of a cell along one side."""
MAX_LOG_SIDE = math.log(32)
"""Of an object, in cells."""


@dataclass(frozen=True)
class JudgeShape:
    """The words a judge knows, in the order of its logits, and the widths of its layers."""

    concepts: tuple[str, ...]
    styles: tuple[str, ...]
    backgrounds: tuple[str, ...]
    widths: tuple[int, int, int] = (24, 64, 128)
    """Channels at half, quarter and eighth resolution; the last two are halved inside a block."""
    blocks: tuple[int, int] = (2, 4)
    """Residual blocks at quarter and eighth resolution."""


@dataclass(frozen=True)
class Found:
    """An object that the judge sees: a square of side `size` with its corner at (left, top), in pixels."""

    concept: str
    style: str
    left: int
    top: int
    size: int
    confidence: float
    """Probability of the concept at the cell that speaks for the object."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels, the last two exclusive."""
        return self.left, self.top, self.left + self.size, self.top + self.size


@dataclass(frozen=True)
class Reading:
    """What the judge reads from one picture."""

    objects: tuple[Found, ...]
    """The most confident first."""
    background: str

    @property
    def style(self) -> str | None:
        """The style of most objects, the more confident ones where as many have another; None without objects."""
        votes = {found.style: 0.0 for found in self.objects}
        for found in self.objects:
            votes[found.style] += 1 + found.confidence / (1 + len(self.objects))
        return max(votes, key=votes.__getitem__) if votes else None


class Maps(NamedTuple):
    """What the network answers: logits, and squares relative to their cells."""

    concepts: Tensor
    """(n, k, y, x), the last of k is "nothing"."""
    styles: Tensor
    """(n, s, y, x)"""
    squares: Tensor
    """(n, 3, y, x): middle to the right of and below the cell's middle, and logarithm of the side, all in cells."""
    backgrounds: Tensor
    """(n, g)"""


class Judge(nn.Module):
    """Fully convolutional: pictures of any height and width that are multiples of 8."""

    def __init__(self, shape: JudgeShape) -> None:
        super().__init__()
        self.shape = shape
        half, quarter, eighth = shape.widths
        self._split = [len(shape.concepts) + 1, len(shape.styles), 3]
        self.trunk = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(half, quarter, 3, stride=2, padding=1), *(_Block(quarter) for _ in range(shape.blocks[0])),
            _ChannelNorm(quarter),
            nn.Conv2d(quarter, eighth, 3, stride=2, padding=1), *(_Block(eighth) for _ in range(shape.blocks[1])),
            _ChannelNorm(eighth),
        )  # fmt: skip
        self.cells = nn.Sequential(nn.Conv2d(eighth, eighth, 1), nn.SiLU(), nn.Conv2d(eighth, sum(self._split), 1))
        self.picture = nn.Sequential(
            nn.Linear(2 * eighth, eighth // 2), nn.SiLU(), nn.Linear(eighth // 2, len(shape.backgrounds))
        )

    def forward(self, images: Tensor) -> Maps:
        """The maps of images (n, 3, h, w) in [-1, 1]."""
        features = self.trunk(images.contiguous(memory_format=torch.channels_last))
        concepts, styles, squares = self.cells(features).float().split(self._split, dim=1)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return Maps(concepts, styles, squares, self.picture(pooled).float())

    @torch.inference_mode()
    def read(self, images: NDArray[np.uint8], *, min_confidence: float = 0.5, batch_size: int = 64) -> list[Reading]:
        """Read pictures (n, h, w, 3) uint8 of any one size.

        Raises:
            ValueError: the pictures are not (n, h, w, 3) uint8 with sides that are multiples of 8.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images are {images.dtype} {images.shape}: give uint8 (n, h, w, 3)")
        if images.shape[1] % CELL or images.shape[2] % CELL:
            raise ValueError(f"images are {images.shape[1]} x {images.shape[2]}: sides must be multiples of {CELL}")
        device = next(self.parameters()).device
        readings = []
        for batch in torch.from_numpy(np.ascontiguousarray(images)).split(batch_size):
            pixels = rearrange(batch.to(device, torch.float32), "n h w c -> n c h w") / 127.5 - 1
            readings += self._readings(self(pixels), min_confidence)
        return readings

    def _readings(self, maps: Maps, min_confidence: float) -> list[Reading]:
        confidence, concept = maps.concepts.softmax(dim=1)[:, :-1].max(dim=1)
        style, background = maps.styles.argmax(dim=1), maps.backgrounds.argmax(dim=1)
        objects: list[list[Found]] = [[] for _ in background]
        for index, y, x in (confidence >= min_confidence).nonzero().tolist():
            left, top, size = _square(maps.squares[index, :, y, x].tolist(), x=x, y=y)
            objects[index].append(
                Found(
                    concept=self.shape.concepts[concept[index, y, x]],
                    style=self.shape.styles[style[index, y, x]],
                    left=left,
                    top=top,
                    size=size,
                    confidence=float(confidence[index, y, x]),
                )
            )
        words = self.shape.backgrounds
        return [Reading(strongest(found), words[index]) for found, index in zip(objects, background, strict=True)]

    def save(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors`, in bf16."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(asdict(self.shape), indent=1) + "\n")
        weights = {name: weight.detach().cpu().bfloat16().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, path / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path | str | None = None, *, device: torch.device | str = "cpu") -> Self:
        """The judge in `folder`, by default the one that comes with this package; weights and sums are fp32.

        Raises:
            ValueError: there is no judge in the folder.
        """
        path = assets_folder() if folder is None else Path(folder).expanduser()
        if not (path / "model.safetensors").is_file():
            raise ValueError(f"{path} holds no judge: train one with python jobs/pretrain.py stickers --stages judge")
        config = json.loads((path / "config.json").read_text())
        judge = cls(JudgeShape(**{name: tuple(value) for name, value in config.items()}))
        weights = load_file(path / "model.safetensors")
        judge.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return judge.to(device).eval().requires_grad_(False)


def assets_folder() -> Path:
    """The folder of the committed judge."""
    return Path(str(files("ladd_ray"))) / "assets" / "judge"


def _square(relative: list[float], *, x: int, y: int) -> tuple[int, int, int]:
    """Left, top and side in pixels of a square given relative to the cell in column x and row y."""
    right, below, log_side = relative
    # Anything may come out of an untrained judge, and its exponential overflows.
    side = CELL * math.exp(min(log_side, MAX_LOG_SIDE))
    return round(CELL * (x + 0.5 + right) - side / 2), round(CELL * (y + 0.5 + below) - side / 2), max(round(side), 1)


def strongest(found: Sequence[Found]) -> tuple[Found, ...]:
    """The objects without weaker sightings of the same ones, the most confident first.

    Two sightings are of one object where the middle of either lies inside the square of the other.
    """
    kept: list[Found] = []
    for candidate in sorted(found, key=lambda one: -one.confidence):
        if not any(_same_place(candidate, other) for other in kept):
            kept.append(candidate)
    return tuple(kept)


def _same_place(one: Found, other: Found) -> bool:
    reach = max(one.size, other.size) / 2
    right = (one.left + one.size / 2) - (other.left + other.size / 2)
    below = (one.top + one.size / 2) - (other.top + other.size / 2)
    return max(abs(right), abs(below)) < reach


class _ChannelNorm(nn.LayerNorm):
    """Normalises each place over its channels: no place sees the rest of the picture, whatever its size."""

    def forward(self, features: Tensor) -> Tensor:
        by_place = rearrange(features, "n c y x -> n y x c")
        return rearrange(super().forward(by_place), "n y x c -> n c y x")


class _Block(nn.Module):
    """A residual bottleneck."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // 2
        self.branch = nn.Sequential(
            _ChannelNorm(width),
            nn.Conv2d(width, narrow, 1), nn.SiLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1), nn.SiLU(),
            nn.Conv2d(narrow, width, 1),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        refined: Tensor = features + self.branch(features)
        return refined
