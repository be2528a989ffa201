"""Pictures for the judge to learn from, and what it should answer: harder than the world's own.

Half of the scenes are the world's, of both splits; in the other half every object is redrawn as any concept in any
style, so that each object must be read by itself. Objects leave the raster, pictures are softened, recoloured and
made noisy as a drawing network would. Some pictures hold nothing at all: bare fields, noise, shuffled pieces, and
drawings so crumpled that only their colours are right, which a reader of few words would otherwise guess from.

Shapes: b batch, o objects of a picture (padded), h w pixels, y x cells of the judge.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ladd_ray.data import stickers
from ladd_ray.data.stickers import Scene, Sticker
from ladd_ray.models.judge import CELL
from ladd_ray.training.pretraining.soften import crumple, fields, recolour, soften

JUDGE_SEED = 48_271
"""Of the judge's scenes, in both splits. Nothing is ever evaluated on this sequence: evaluations number theirs from
other seeds, so the judge has seen every drawing, and none of the scenes that it judges."""

REDRAWN, DROPPED, SHIFTED = 0.5, 0.1, 0.75
"""Shares of scenes with any objects, of objects left out, and of scenes off the raster."""
MAX_SHIFT = 4
"""Of corner and side, in pixels."""
NOISE, SHUFFLED, CRUMPLED = 0.10, 0.05, 0.15
"""Shares of pictures that are fields of noise, pieces of a scene in disorder, or crumpled beyond recognition."""
CROOKED = 0.25
"""Share of the other scenes that are crumpled a little, and still to be recognised."""
A_LITTLE, BEYOND_RECOGNITION = (0.0, 0.03), (0.12, 0.25)
"""Deviations of the displacement, in sides of the largest object. What lies between is left to the judge."""


@dataclass(frozen=True)
class JudgeBatch:
    """Pictures and their answers; cells of no object have concept `len(CONCEPTS)`."""

    images: Tensor
    """(b, 3, h, w) in [-1, 1]"""
    concepts: Tensor
    """(b, y, x)"""
    styles: Tensor
    """(b, y, x), meaningless without an object."""
    squares: Tensor
    """(b, 3, y, x) as the judge's, meaningless without an object."""
    weights: Tensor
    """(b, y, x): one over the number of cells of the object, so that large ones do not count more; 0 without."""
    backgrounds: Tensor
    """(b,)"""
    has_background: Tensor
    """(b,) bool: false for noise and shuffled pieces."""


def judge_batch(count: int) -> JudgeBatch:
    """Draw a batch of one size with torch's global generator."""
    height, width = stickers.FRAMES[int(torch.randint(len(stickers.FRAMES), ()))]
    generator = random.Random(int(torch.randint(2**40, ())))
    scenes = [_scene(generator, height=height, width=width) for _ in range(count)]
    noise, shuffled, crumpled = _kinds(count)
    pixels = torch.from_numpy(np.stack([stickers.render(scene) for scene in scenes]))
    images = rearrange(pixels.float() / 127.5 - 1, "b h w c -> b c h w")
    images = soften(crumple(images, pixels=_displacement(scenes, crumpled=crumpled)))
    images[noise] = fields(int(noise.sum()), height=height, width=width)
    images[shuffled] = _in_disorder(images[shuffled])
    bare = noise | shuffled
    return _answered(recolour(images), scenes, empty=bare | crumpled, has_background=~bare)


def _kinds(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which pictures (b,) are noise, shuffled and crumpled: no two at once."""
    draw = torch.rand(count)
    limits = (0.0, NOISE, NOISE + SHUFFLED, NOISE + SHUFFLED + CRUMPLED)
    noise, shuffled, crumpled = ((low <= draw) & (draw < high) for low, high in pairwise(limits))
    return noise, shuffled, crumpled


def _displacement(scenes: list[Scene], *, crumpled: Tensor) -> Tensor:
    """How far each picture (b,) is crumpled, in pixels."""
    largest = torch.tensor([max((item.size for item in scene.objects), default=0) for scene in scenes])
    draw, crooked = torch.rand(len(scenes)), torch.rand(len(scenes)) < CROOKED
    little, much = (low + (high - low) * draw for low, high in (A_LITTLE, BEYOND_RECOGNITION))
    return largest * torch.where(crumpled, much, little * crooked)


def _scene(generator: random.Random, *, height: int, width: int) -> Scene:
    split: stickers.Split = "heldout" if generator.random() < 0.5 else "train"
    scene = stickers.scene(JUDGE_SEED, generator.randrange(2**40), split=split, height=height, width=width)
    objects = [item for item in scene.objects if generator.random() >= DROPPED]
    if generator.random() < REDRAWN:
        objects = [_redrawn(generator, item) for item in objects]
    if generator.random() < SHIFTED:
        objects = [_shifted(generator, item, height=height, width=width) for item in objects]
    return replace(scene, objects=tuple(objects))


def _redrawn(generator: random.Random, item: Sticker) -> Sticker:
    concept, style = generator.choice(list(stickers.CONCEPTS)), generator.choice(stickers.STYLES)
    return replace(item, concept=concept, style=style)


def _shifted(generator: random.Random, item: Sticker, *, height: int, width: int) -> Sticker:
    size = min(item.size + generator.randint(-MAX_SHIFT, MAX_SHIFT), height, width)
    left = item.left + generator.randint(-MAX_SHIFT, MAX_SHIFT)
    top = item.top + generator.randint(-MAX_SHIFT, MAX_SHIFT)
    return replace(item, left=min(max(left, 0), width - size), top=min(max(top, 0), height - size), size=size)


def _in_disorder(images: Tensor) -> Tensor:
    """The cells of each image in random order."""
    height = images.shape[2] // CELL
    cells = rearrange(images, "b c (y i) (x j) -> b (y x) c i j", i=CELL, j=CELL)
    order = torch.rand(cells.shape[:2]).argsort(dim=1)
    mixed = torch.stack([part[places] for part, places in zip(cells, order, strict=True)]) if len(cells) else cells
    return rearrange(mixed, "b (y x) c i j -> b c (y i) (x j)", y=height)


def _answered(images: Tensor, scenes: list[Scene], *, empty: Tensor, has_background: Tensor) -> JudgeBatch:
    """Images with what the judge should say of them: cells belong to the nearest object, if its middle is near."""
    middle, side, concept, style = _objects(scenes)
    rows, columns = scenes[0].height // CELL, scenes[0].width // CELL
    grid = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")) + 0.5
    offset = middle[..., None, None] - grid  # (b, o, 2, y, x), in cells
    distance = offset.abs().amax(dim=2)
    # At half a cell or more, one cell at least speaks for every object, wherever it lies.
    reach = (side / 4).clamp(min=0.5)[..., None, None]
    reached = (distance <= reach) & ~empty[:, None, None, None]
    owner = torch.where(reached, distance, torch.inf).argmin(dim=1, keepdim=True)
    owned = reached & (torch.arange(side.shape[1])[:, None, None] == owner)
    taken = owned.any(dim=1)
    weights = (owned / owned.sum(dim=(2, 3), keepdim=True).clamp(min=1)).sum(dim=1)
    square = torch.cat([offset, side.log()[..., None, None, None].expand_as(offset[:, :, :1])], dim=2)
    pick = owner[:, :, None].expand(-1, -1, 3, -1, -1)
    return JudgeBatch(
        images=images,
        concepts=torch.where(taken, _at(concept, owner), len(stickers.CONCEPTS)),
        styles=_at(style, owner),
        squares=square.gather(1, pick)[:, 0],
        weights=weights,
        backgrounds=torch.tensor([list(stickers.BACKGROUNDS).index(scene.background) for scene in scenes]),
        has_background=has_background,
    )


def _at(values: Tensor, owner: Tensor) -> Tensor:
    """The values (b, o) of the owners (b, 1, y, x): (b, y, x)."""
    return values[..., None, None].expand(-1, -1, *owner.shape[2:]).gather(1, owner)[:, 0]


def _objects(scenes: list[Scene]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Middles (b, o, 2) and sides (b, o) in cells, concepts and styles (b, o); padding lies far outside."""
    longest = max(1, *(len(scene.objects) for scene in scenes))
    concepts, styles = list(stickers.CONCEPTS), list(stickers.STYLES)
    table = torch.tensor([[-1e4, -1e4, 1.0, 0.0, 0.0]]).repeat(len(scenes), longest, 1)
    for row, scene in zip(table, scenes, strict=True):
        for place, item in zip(row, scene.objects, strict=False):
            x, y = item.left + item.size / 2, item.top + item.size / 2
            place[:] = torch.tensor(
                [x / CELL, y / CELL, item.size / CELL, concepts.index(item.concept), styles.index(item.style)]
            )
    return table[..., :2], table[..., 2], table[..., 3].long(), table[..., 4].long()
