"""What distances are measured to: pictures of the embedded world, a folder of images, or a model.

Shapes: h, w height and width of a picture in pixels, last axis red, green, blue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ladd_ray.data import stickers
from ladd_ray.data.stickers import Scene
from ladd_ray.evaluate_config import EMBEDDED, REAL, EvaluateConfig
from ladd_ray.evaluation.metrics import Pictures
from ladd_ray.models.folder import is_hub_name
from ladd_ray.training.evaluation.candidates import contenders_of, find_candidates
from ladd_ray.training.painting import Contender, Crew, Picture, Sample, paint

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MIN_IMAGES = 4
READ_AT_ONCE = 64
"""Pictures of a folder that are in memory together."""


@dataclass(frozen=True)
class RealReference:
    """Scenes of the embedded world that are none of the prompts': the distance of real pictures is not 0 by design."""

    seed: int
    start: int
    """The first scene."""

    @property
    def description(self) -> str:
        """For the protocol: changes when the pictures do."""
        return f"held-out scenes from {self.start} of seed {self.seed}"


@dataclass(frozen=True)
class FolderReference:
    """Images in files, as they are."""

    files: tuple[Path, ...]
    fingerprint: str

    @property
    def description(self) -> str:
        """For the protocol: changes when the pictures do."""
        return f"{len(self.files)} images {self.fingerprint}"


@dataclass(frozen=True)
class ModelReference:
    """A model that draws the same prompts from other noise."""

    contender: Contender
    fingerprint: str

    @property
    def description(self) -> str:
        """For the protocol: changes when the pictures do."""
        steps, guidance = self.contender.num_inference_steps, self.contender.guidance_scale
        return f"model {self.fingerprint}, {steps} steps at guidance {guidance:g}, shift {self.contender.shift:g}"


Reference = RealReference | FolderReference | ModelReference


def reference_pictures(reference: Reference, samples: Sequence[Sample], *, crew: Crew) -> Iterator[Pictures]:
    """The set in parts: at most as many pictures as samples, in their sizes where the reference can choose."""
    match reference:
        case RealReference(seed, start):
            sizes = [(sample.height, sample.width) for sample in samples]
            yield [stickers.render(scene) for scene in heldout_scenes(seed, start, sizes=sizes)]
        case FolderReference(files):
            for first in range(0, len(files), READ_AT_ONCE):
                yield [_read(file) for file in files[first : first + READ_AT_ONCE]]
        case ModelReference(contender):
            for _, pictures in paint([contender], samples, crew=crew):
                yield pictures


def find_reference(config: EvaluateConfig, *, fetch: bool) -> Reference | None:
    """The reference of the configuration, without looking at its pictures yet.

    Raises:
        ValueError: it is neither a model nor a folder with enough images.
    """
    source = config.chosen_reference
    if source is None:
        return None
    if source == REAL:
        return RealReference(config.seed, start=config.num_images)
    folder = Path(source).expanduser()
    if folder.is_dir() and (files := _images_in(folder, config.num_images)):
        return FolderReference(files, _fingerprint(files))
    if folder.is_dir() or is_hub_name(source) or source == EMBEDDED:
        return _model_reference(config, source, fetch=fetch)
    raise ValueError(f"no reference at {source}: set reference to 'real', a folder of images, a model, or 'none'")


def heldout_scenes(seed: int, start: int, *, sizes: Sequence[tuple[int, int]]) -> list[Scene]:
    """Scenes ``start``, ``start + 1``, ... of the held-out split, one of each (height, width)."""
    return [
        stickers.scene(seed, start + number, split="heldout", height=height, width=width)
        for number, (height, width) in enumerate(sizes)
    ]


def _model_reference(config: EvaluateConfig, source: str, *, fetch: bool) -> ModelReference:
    asked = config.model_copy(update={"models": (source,), "roles": ("teacher",)})
    (candidate,) = find_candidates(asked, fetch=fetch)
    (contender,) = contenders_of(candidate, asked)
    # Other noise than everybody else's, or the reference's own row would have the distance 0.
    return ModelReference(replace(contender, seed=config.seed + 1), candidate.fingerprint)


def _read(file: Path) -> Picture:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _images_in(folder: Path, count: int) -> tuple[Path, ...]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if files and len(files) < MIN_IMAGES:
        raise ValueError(
            f"{folder} holds {len(files)} images: give at least {MIN_IMAGES}, better as many as num_images"
        )
    return tuple(files[:count])


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
