"""The space of a sweep: settings by dotted names, each with the values that it may take, checked before it starts.

A space is a plain mapping, as it stands in a JSON or YAML file::

    {"noise.renoise_mean": {"uniform": [-2.5, 1]},
     "student.lr": {"log_uniform": [1e-5, 2e-4]},
     "discriminator.width": [32, 64, 128],
     "discriminator.tapped_blocks": ["all", "half", "last"]}

A list is a choice. Blocks may be named: ``half`` is every second one and the last, ``last`` the last alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue, ValidationError

from ladd_ray.config import Config, override
from ladd_ray.sweep_config import OF_SWEEP, nearest
from ladd_ray.sweep_records import ChoiceRecord, DimensionRecord, RangeRecord

BLOCKS = "discriminator.tapped_blocks"
NAMED_BLOCKS = ("all", "half", "last")
SHARED = ("teacher", "data", "evaluation", "milestones", "tracking", "health")
"""Sections that all trials of a sweep have in common: they train on the same latents and meet the same score."""
FIXED = ("recipe", "method", "run.steps", "run.num_workers", "run.device", "run.engine", *OF_SWEEP)
"""Further settings that are equal in all trials, so that their budgets are."""
RANGES: Mapping[str, str] = MappingProxyType({"uniform": "uniform", "log_uniform": "log_uniform"})
NUM_TRIED = 256
"""Points of a space that are tried out before it starts."""

Space = Mapping[str, DimensionRecord]
Point = dict[str, JsonValue]
"""A value for every dimension."""


def parse_space(space: Mapping[str, Any]) -> dict[str, DimensionRecord]:
    """The dimensions of a plain mapping.

    Raises:
        ValueError: a dimension is not a list of distinct values or a range.
    """
    if not space:
        raise ValueError("the space is empty: name at least one setting and its values")
    return {name: _dimension(name, values) for name, values in space.items()}


def require_fit(space: Space, standard: Config, *, num_blocks: int) -> None:
    """Check a space against the configuration that its trials begin as.

    Args:
        space: what is searched.
        standard: what trials have in common.
        num_blocks: of the teacher's transformer.

    Raises:
        ValueError: a setting is unknown, is the same for all trials, or has a value that the configuration refuses.
    """
    for name in space:
        _require_known(name, standard)
    for point in islice(_tried(space), NUM_TRIED):
        try:
            override(standard, resolved(point, num_blocks=num_blocks))
        except ValidationError as error:
            shown = ", ".join(f"{name} = {value}" for name, value in point.items())
            raise ValueError(f"the configuration refuses {shown}: {error.errors()[0]['msg']}") from None


def require_blocks(space: Space, standard: Config, *, num_blocks: int) -> None:
    """Check the numbers of blocks in a space that fits, as for ``require_fit``.

    Raises:
        ValueError: one lies beyond the teacher's last.
    """
    dimension = space.get(BLOCKS)
    for value in dimension.values if isinstance(dimension, ChoiceRecord) else ():
        changes = resolved({BLOCKS: value}, num_blocks=num_blocks)
        blocks = override(standard, changes).discriminator.tapped_blocks
        if blocks and max(blocks) >= num_blocks:
            raise ValueError(
                f"{BLOCKS} = {value} goes beyond the teacher's {num_blocks} blocks: use 0..{num_blocks - 1}"
            )


def grid_points(space: Space) -> list[Point]:
    """Every point of a space of choices; the last dimension changes first.

    Raises:
        ValueError: a dimension is a range.
    """
    choices = {}
    for name, dimension in space.items():
        if isinstance(dimension, RangeRecord):
            raise ValueError(f"{name} is a range, which no grid can take whole: list its values, or leave grid out")
        choices[name] = dimension.values
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def resolved(point: Mapping[str, JsonValue], *, num_blocks: int) -> Point:
    """The point with names of blocks as their numbers: changes that ``config.override`` takes."""
    named = {name: value for name, value in point.items() if name == BLOCKS and value in NAMED_BLOCKS}
    return {**point, **{name: _blocks(str(value), num_blocks) for name, value in named.items()}}


def dotted_names(tree: Mapping[str, Any], *, prefix: str = "") -> Iterator[str]:
    """Names of all settings of a configuration."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from dotted_names(value, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _dimension(name: str, values: Any) -> DimensionRecord:
    if isinstance(values, Mapping) and list(values) == ["choice"]:
        values = values["choice"]
    if isinstance(values, list | tuple) and values:
        _require_distinct(name, values)
        return ChoiceRecord(values=tuple(values))
    if isinstance(values, Mapping) and len(values) == 1 and set(values) <= set(RANGES):
        ((kind, bounds),) = values.items()
        if ends := _numbers(bounds):
            low, high = ends
            if low >= high:
                raise ValueError(f"{name} = {values}: low must be below high, and {low:g} is not below {high:g}")
            if kind == "uniform" or low > 0:
                return RangeRecord(kind=kind, low=low, high=high)
    raise ValueError(
        f"{name} = {values} is no dimension: give a list of values, {{uniform: [low, high]}} or "
        "{log_uniform: [low, high]} with low above 0"
    )


def _require_distinct(name: str, values: Sequence[Any]) -> None:
    """Equal as Python has it, where 1 is 1.0 and true: so the configuration and the journal of a sweep have it, too."""
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"{name} = {list(values)} has {value} twice: list every value once")


def _numbers(bounds: Any) -> tuple[float, float] | None:
    """Two numbers, where that is what they are; also as text, since YAML reads 1e-5, which has no point, as text."""
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        return None
    return low, high


def _require_known(name: str, standard: Config) -> None:
    known = tuple(dotted_names(standard.model_dump()))
    if name not in known:
        raise ValueError(f"unknown setting {name!r} in the space: did you mean {nearest(name, known)}?")
    if name in FIXED or name.split(".")[0] in SHARED:
        raise ValueError(
            f"{name} is the same in all trials of a sweep, which share data, budget and scores: set it with base, and "
            "sweep again for another value"
        )


def _tried(space: Space) -> Iterator[Point]:
    """The ends of every dimension beside the first values of the others, then points at random."""
    values = {name: _ends(dimension) for name, dimension in space.items()}
    first = {name: ends[0] for name, ends in values.items()}
    for name, ends in values.items():
        yield from ({**first, name: value} for value in ends)
    chance = random.Random(0)
    while True:
        yield {name: chance.choice(ends) for name, ends in values.items()}


def _ends(dimension: DimensionRecord) -> tuple[JsonValue, ...]:
    if isinstance(dimension, RangeRecord):
        return dimension.low, dimension.high
    return dimension.values


def _blocks(name: str, num_blocks: int) -> JsonValue:
    match name:
        case "half":
            return [*range((num_blocks - 1) % 2, num_blocks, 2)]
        case "last":
            return [num_blocks - 1]
        case _:
            return None
