"""Scores of edits and inpainting against exact targets: was it done, and was the rest left alone?

Shapes: h w pixels, last axis of a picture red, green, blue; masks (h, w) bool. Sizes may differ between pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ladd_ray.data.stickers import Scene, render
from ladd_ray.evaluation.judge import Share, placed, share, shares_by, size_name, verdict
from ladd_ray.evaluation.metrics import Features, Pictures, by_size, features_of
from ladd_ray.models.judge import Reading

Masks = Sequence[NDArray[np.bool_]]
Read = Callable[[NDArray[np.uint8]], list[Reading]]
"""Pictures (n, h, w, 3) of one size to what the judge reads in them."""

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
    by_kind: Mapping[str, Share]
    """Success of each kind of edit."""
    by_size: Mapping[str, Share]
    """Success at each picture size, by ``judge.size_name``."""
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
    by_kind: Mapping[str, Share]
    """Success of each kind of mask."""
    by_size: Mapping[str, Share]
    """Success at each picture size, by ``judge.size_name``."""
    rest_difference: int
    """Of 255, over all pictures."""
    definition: str = INPAINT_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def edit_scores(
    outputs: Pictures,
    sources: Pictures,
    *,
    targets: Sequence[Scene],
    changed: Masks,
    kinds: Sequence[str],
    read: Read,
    features: Features,
) -> EditScore:
    """Score edited pictures against the exact pictures of their target scenes.

    Args:
        outputs: What the model made of the sources.
        sources: What it was given.
        targets: What it should have made.
        changed: Where source and target differ.
        kinds: What kind of edit each is.
        read: The judge, `Judge.read`.
        features: Maps pictures to features (n, d), such as `EffNetLite0Features`.

    Raises:
        ValueError: the numbers or sizes of the pictures differ.
    """
    exact = _rendered(targets)
    _require_equal(outputs, exact, masks=changed)
    _require_equal(sources, exact, masks=changed)
    in_place = _in_place(by_size(outputs, read), targets)
    success = edits_done(outputs, sources, targets=targets, read=read)
    wanted = features_of(exact, features)
    return EditScore(
        success=share(success),
        by_kind=shares_by(kinds, success),
        by_size=shares_by([size_name(scene) for scene in targets], success),
        placed=share(in_place),
        rest_psnr=_rest_psnr(outputs, exact, changed=changed),
        feature_distance=_distance(features_of(outputs, features), wanted),
        source_distance=_distance(features_of(sources, features), wanted),
    )


def inpaint_scores(
    outputs: Pictures, *, originals: Sequence[Scene], masks: Masks, kinds: Sequence[str], read: Read
) -> InpaintScore:
    """Score pictures whose holes, True in the masks, were filled in after the captions of the originals.

    Args:
        outputs: What the model made.
        originals: The scenes that the holes were cut into.
        masks: The holes.
        kinds: What kind of mask each is.
        read: The judge, `Judge.read`.

    Raises:
        ValueError: the numbers or sizes of the pictures differ.
    """
    exact = _rendered(originals)
    _require_equal(outputs, exact, masks=masks)
    success = facts_right(outputs, originals, read=read)
    return InpaintScore(
        success=share(success),
        by_kind=shares_by(kinds, success),
        by_size=shares_by([size_name(scene) for scene in originals], success),
        rest_difference=max(
            _largest_difference(output, original, rest=~mask)
            for output, original, mask in zip(outputs, exact, masks, strict=True)
        ),
    )


def edits_done(outputs: Pictures, sources: Pictures, *, targets: Sequence[Scene], read: Read) -> list[bool]:
    """Whether each output shows its target; arguments as of ``edit_scores``."""
    readings = by_size(outputs, read)
    # The facts of a move already hold in its source: only the places tell whether anything was done.
    already = facts_right(sources, targets, read=read)
    outcomes = zip(_facts(readings, targets), _in_place(readings, targets), already, strict=True)
    return [right and (there or not before) for right, there, before in outcomes]


def facts_right(pictures: Pictures, scenes: Sequence[Scene], *, read: Read) -> list[bool]:
    """Whether the judge reads every fact of its scene in each picture."""
    return _facts(by_size(pictures, read), scenes)


def _facts(readings: Sequence[Reading], scenes: Sequence[Scene]) -> list[bool]:
    return [verdict(reading, scene).all_right for reading, scene in zip(readings, scenes, strict=True)]


def _in_place(readings: Sequence[Reading], scenes: Sequence[Scene]) -> list[bool]:
    return [all(placed(reading, scene)) for reading, scene in zip(readings, scenes, strict=True)]


def _rendered(scenes: Sequence[Scene]) -> Pictures:
    if not scenes:
        raise ValueError("there is no scene to score: give at least one picture with its scene")
    return [render(scene) for scene in scenes]


def _require_equal(pictures: Pictures, exact: Pictures, *, masks: Masks) -> None:
    wanted = [picture.shape for picture in exact]
    given, holes = [picture.shape for picture in pictures], [(*mask.shape, 3) for mask in masks]
    if given != wanted or holes != wanted:
        raise ValueError(
            f"{len(given)} pictures of {sorted(set(given))} and {len(holes)} masks do not fit {len(wanted)} scenes of "
            f"{sorted(set(wanted))}: give one picture and one mask of the scene's size for each"
        )


def _rest_psnr(outputs: Pictures, exact: Pictures, *, changed: Masks) -> float | None:
    values = [
        psnr(output[~mask], target[~mask])
        for output, target, mask in zip(outputs, exact, changed, strict=True)
        if not mask.all()
    ]
    return mean(values) if values else None


def psnr(pixels: NDArray[np.uint8], exact: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in dB of pixels of any shape, at most ``MAX_PSNR``."""
    error = ((pixels.astype(np.float64) - exact) ** 2).mean()
    return min(float(10 * np.log10(255**2 / max(error, 1e-9))), MAX_PSNR)


def _largest_difference(output: NDArray[np.uint8], exact: NDArray[np.uint8], *, rest: NDArray[np.bool_]) -> int:
    return int(np.abs(output.astype(np.int16) - exact)[rest].max(initial=0))


def _distance(features: Tensor, wanted: Tensor) -> float:
    # Rounding may lead below 0.
    return float((1 - F.cosine_similarity(features.double(), wanted.double(), dim=1)).mean().clamp(min=0))
