"""A checked request and the facts of a model make an order, or a refusal that names the parameter."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ladd_ray.inference.facts import ModelFacts
from ladd_ray.inference.walk import Order, Task
from ladd_ray.models.strengths import NEUTRAL, Knob, Strengths

from .errors import bad_request
from .schemas import EditOptions, ImageRequest
from .sizes import size_fault

_SEEDS_BY_CHANCE = 2**32


@dataclass(frozen=True, eq=False)
class Given:
    """The pictures of an edit."""

    image: NDArray[np.uint8]
    """(height, width, 3)."""
    hole: NDArray[np.bool_] | None = None
    """(height, width), True where to fill; None edits by instruction."""


def make_order(request: ImageRequest, facts: ModelFacts, *, given: Given | None = None, max_pixels: int) -> Order:
    """What to draw.

    Args:
        request: as its schema let it pass.
        facts: of the model that will draw it.
        given: the pictures of an edit.
        max_pixels: of one picture.

    Raises:
        ApiError: the model cannot do it.
    """
    task = _task(facts, given)
    width, height = _size(request, facts, given, max_pixels=max_pixels)
    image_guidance = request.image_guidance if isinstance(request, EditOptions) else None
    if facts.knobs is None or task == "inpaint":
        _refuse_guidance(request.text_guidance, image_guidance, filling=task == "inpaint")
    else:
        _check_guidance(request.text_guidance, facts.knobs.text, param="text_guidance")
        _check_guidance(image_guidance, facts.knobs.image, param="image_guidance")
        if facts.guided:
            _check_leading(facts.knobs.pick(text=request.text_guidance, image=image_guidance))
    return Order(
        task=task,
        prompt=request.prompt,
        height=height,
        width=width,
        seeds=_seeds(request),
        num_inference_steps=_steps(request, facts),
        text_guidance=request.text_guidance,
        image_guidance=image_guidance,
        image=None if given is None else given.image,
        hole=None if given is None else given.hole,
        model=facts.fingerprint,
    )


def _task(facts: ModelFacts, given: Given | None) -> Task:
    if given is None:
        return "generate"
    if not facts.edits:
        raise bad_request("this model only generates: use another of GET /v1/models", param="model")
    return "edit" if given.hole is None else "inpaint"


def _size(request: ImageRequest, facts: ModelFacts, given: Given | None, *, max_pixels: int) -> tuple[int, int]:
    """Width and height in pixels."""
    asked = request.width_height
    if given is not None:
        width, height = given.image.shape[1], given.image.shape[0]
        if asked not in (None, (width, height)):
            raise bad_request(f"an edit keeps the size of its picture, {width}x{height}: use auto", param="size")
        param = "image"
    else:
        width, height = asked or (facts.native_size, facts.native_size)
        param = "size"
    _check_size(width, height, facts, max_pixels=max_pixels, param=param)
    return width, height


def _check_size(width: int, height: int, facts: ModelFacts, *, max_pixels: int, param: str) -> None:
    fault = size_fault(width, height, multiple=facts.size_multiple, largest_side=facts.largest_side)
    if fault is None and width * height > max_pixels:
        fault = f"at most {max_pixels} pixels are drawn"
    if fault is not None:
        raise bad_request(f"{width}x{height}: {fault}", param=param)


def _refuse_guidance(text: float | None, image: float | None, *, filling: bool) -> None:
    for value, param in ((text, "text_guidance"), (image, "image_guidance")):
        if value is not None:
            why = "has no effect on filling a mask" if filling else "is fixed in this model"
            raise bad_request(f"{param} {why}: leave it out", param=param)


def _check_guidance(value: float | None, knob: Knob, *, param: str) -> None:
    if value is not None and not knob.low <= value <= knob.high:
        raise bad_request(f"{param} must lie within {knob.low:g}..{knob.high:g} for this model", param=param)


def _check_leading(strengths: Strengths) -> None:
    if strengths.image != NEUTRAL and strengths.text <= NEUTRAL:
        raise bad_request(f"image_guidance needs text_guidance above {NEUTRAL:g}: raise it", param="image_guidance")


def _steps(request: ImageRequest, facts: ModelFacts) -> int:
    steps = facts.default_steps if request.num_inference_steps is None else request.num_inference_steps
    if steps > facts.most_steps:
        raise bad_request(f"this model takes 1 to {facts.most_steps} steps", param="num_inference_steps")
    return steps


def _seeds(request: ImageRequest) -> tuple[int, ...]:
    first = secrets.randbelow(_SEEDS_BY_CHANCE) if request.seed is None else request.seed
    return tuple(range(first, first + request.n))
