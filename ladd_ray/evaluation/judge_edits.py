"""Scores of edits and inpainting against exact targets: was it done, and was the rest left alone?

Shapes: n pictures, h w pixels, last axis red, green, blue; masks (n, h, w) bool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ladd_ray.data.stickers import Scene, render
from ladd_ray.evaluation.judge import Share, placed, share, verdict
from ladd_ray.models.judge import Reading

Pictures = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Read = Callable[[Pictures], list[Reading]]
Features = Callable[[Pictures], Tensor]

EDIT_DEFINITION = (
    "success: the judge reads the target's facts, and its places where the untouched source has the same facts; "
    "rest_psnr: dB outside the changed region, output against target, at most 60 for each picture; "
    "feature_distance: mean 1 - cosine, output against target"
)
INPAINT_DEFINITION = (
    "success: the judge reads every fact of the prompt; rest_difference: largest level outside the mask"
)
MAX_PSNR = 60.0
"""dB: below the error of rounding to bytes. Equal pictures have this."""


@dataclass(frozen=True)
class EditScore:
    """How well edits were carried out."""

    success: Share
    placed: Share
    """Every object of the target is in its place."""
    rest_psnr: float | None
    """None where every pixel was to change."""
    feature_distance: float
    source_distance: float
    """The feature distance of the untouched sources: what doing nothing would get."""
    definition: str = EDIT_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class InpaintScore:
    """How well holes were filled."""

    success: Share
    rest_difference: int
    """Of 255, over all pictures."""
    definition: str = INPAINT_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def edit_scores(
    outputs: Pictures, sources: Pictures, *, targets: Sequence[Scene], changed: Masks, read: Read, features: Features
) -> EditScore:
    """Score edited pictures (n, h, w, 3) of one size against the exact pictures of their target scenes.

    Args:
        outputs: What the model made of the sources.
        sources: What it was given.
        targets: What it should have made.
        changed: Where source and target differ.
        read: The judge, `Judge.read`.
        features: Maps pictures to features (n, d), such as `EffNetLite0Features`.

    Raises:
        ValueError: the numbers or sizes of the pictures differ.
    """
    exact = _rendered(targets)
    _require_equal(outputs, exact, masks=changed)
    _require_equal(sources, exact, masks=changed)
    readings = read(outputs)
    in_place = [all(placed(reading, scene)) for reading, scene in zip(readings, targets, strict=True)]
    # The facts of a move already hold in its source: only the places tell whether anything was done.
    source_facts = _facts(read(sources), targets)
    facts = _facts(readings, targets)
    success = [
        right and (there or not already) for right, there, already in zip(facts, in_place, source_facts, strict=True)
    ]
    wanted = features(exact)
    return EditScore(
        success=share(success),
        placed=share(in_place),
        rest_psnr=_rest_psnr(outputs, exact, rest=~changed),
        feature_distance=_distance(features(outputs), wanted),
        source_distance=_distance(features(sources), wanted),
    )


def inpaint_scores(outputs: Pictures, *, originals: Sequence[Scene], masks: Masks, read: Read) -> InpaintScore:
    """Score pictures (n, h, w, 3) whose holes, True in the masks, were filled in after the captions of the originals.

    Raises:
        ValueError: the numbers or sizes of the pictures differ.
    """
    exact = _rendered(originals)
    _require_equal(outputs, exact, masks=masks)
    difference = np.abs(outputs.astype(np.int16) - exact)[~masks]
    return InpaintScore(
        success=share(_facts(read(outputs), originals)),
        rest_difference=int(difference.max(initial=0)),
    )


def _facts(readings: Sequence[Reading], scenes: Sequence[Scene]) -> list[bool]:
    return [verdict(reading, scene).all_right for reading, scene in zip(readings, scenes, strict=True)]


def _rendered(scenes: Sequence[Scene]) -> Pictures:
    if not scenes:
        raise ValueError("there is no scene to score: give at least one picture with its scene")
    return np.stack([render(scene) for scene in scenes])


def _require_equal(pictures: Pictures, exact: Pictures, *, masks: Masks) -> None:
    if pictures.shape != exact.shape or masks.shape != exact.shape[:3]:
        raise ValueError(
            f"pictures {pictures.shape} and masks {masks.shape} must be as the scenes' {exact.shape}: "
            "give one picture and one mask of the scene's size for each"
        )


def _rest_psnr(outputs: Pictures, exact: Pictures, *, rest: Masks) -> float | None:
    errors = (outputs.astype(np.float64) - exact) ** 2
    values = [
        min(float(10 * np.log10(255**2 / max(error[kept].mean(), 1e-9))), MAX_PSNR)
        for error, kept in zip(errors, rest, strict=True)
        if kept.any()
    ]
    return mean(values) if values else None


def _distance(features: Tensor, wanted: Tensor) -> float:
    return float((1 - F.cosine_similarity(features.double(), wanted.double(), dim=1)).mean())
