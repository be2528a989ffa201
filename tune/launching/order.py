"""What a person orders with the form: a sweep, checked by what the command line checks, with errors at their fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ladd_ray.recipes import RECIPES
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.sweep_space import grid_points, parse_space, require_fit
from tune.spaces import GRIDS, SPACES, Space

from .dimensions import read_dimensions

PLAIN_FIELDS = ("recipe", "samples", "score_every", "metric")
STEPS = "run.steps"
NAME_END = re.compile(r"\s*=\s*|\s+")
"""Between a name and its value."""
FIELD_OF_SETTING = {"run.name": "name", "run.max_concurrent": "max_concurrent"}
ELSEWHERE = "space"
"""The field that shows errors of the whole."""


class RefusedOrderError(ValueError):
    """What is wrong, by names of fields."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


@dataclass(frozen=True)
class Order:
    """A sweep to start."""

    config: SweepConfig
    space: Space
    is_built_in: bool
    """Whether the space of that name is taken as it is."""

    @property
    def folder(self) -> Path:
        """Where its results will lie."""
        return Path(self.config.run.directory) / self.config.run.name


def find_built_in(choice: str) -> tuple[bool, str, Space]:
    """Whether it is a grid, its name and its dimensions, from such as ``search:noise`` or ``grid:heads``.

    Raises:
        ValueError: there is none of that name.
    """
    kind, _, name = choice.partition(":")
    known: Mapping[str, Space] = {"search": SPACES, "grid": GRIDS}.get(kind, {})
    if name not in known:
        raise ValueError(f"there is no space {choice!r}: choose one of the list")
    return kind == "grid", name, known[name]


def read_order(fields: Mapping[str, str], *, directory: Path) -> Order:
    """A checked order.

    Args:
        fields: The form as it was sent.
        directory: Of all runs, absolute.

    Raises:
        RefusedOrderError: something is wrong.
    """
    try:
        is_grid, name, built_in = find_built_in(fields.get("space", ""))
    except ValueError as problem:
        raise RefusedOrderError({"space": str(problem)}) from problem
    space, errors = read_dimensions(built_in, fields)
    errors |= _misfits(space)
    try:
        config = _config(fields, space=name, is_grid=is_grid, directory=directory)
    except RefusedOrderError as refusal:
        raise RefusedOrderError(refusal.errors | errors) from refusal
    errors |= _misfits({} if errors else space, config)
    if not space and not errors:
        errors["space"] = "tick at least one setting"
    if (directory / config.run.name).exists():
        errors["name"] = f"there is a run called {config.run.name}: choose another name, or go on with it in the list"
    if errors:
        raise RefusedOrderError(errors)
    return Order(config, space, is_built_in=space == built_in)


def read_base(fields: Mapping[str, str]) -> dict[str, str]:
    """Changes of the recipe by dotted names, from lines such as ``run.num_workers 0`` or ``run.num_workers = 0``.

    Raises:
        RefusedOrderError: a line has no value.
    """
    lines = [line.strip() for line in fields.get("base", "").splitlines() if line.strip()]
    base = {}
    for line in lines:
        name, *rest = NAME_END.split(line, maxsplit=1)
        if not name or not any(rest):
            raise RefusedOrderError({"base": f"{line} has no value: write a name and a value on every line"})
        base[name] = rest[0]
    return {**base, **({STEPS: fields["steps"]} if fields.get("steps") else {})}


def _config(fields: Mapping[str, str], *, space: str, is_grid: bool, directory: Path) -> SweepConfig:
    base = read_base(fields)
    _require_base(fields.get("recipe", ""), base)
    values: dict[str, Any] = {name: fields[name] for name in PLAIN_FIELDS if fields.get(name)}
    values["run"] = {name: fields[name] for name in ("name", "max_concurrent") if fields.get(name)}
    values["run"]["directory"] = str(directory)
    seeds = {"seeds": fields["seeds"].replace(",", " ").split()} if fields.get("seeds") else {}
    try:
        return SweepConfig.model_validate({**values, **seeds, "space": space, "grid": is_grid, "base": base})
    except ValidationError as error:
        raise RefusedOrderError(dict(map(_of_field, error.errors()))) from error


def _require_base(recipe: str, base: Mapping[str, str]) -> None:
    """Check the changes alone, since a check of the whole would not tell which of them is wrong."""
    if recipe not in RECIPES:
        return
    try:
        SweepConfig.model_construct(recipe=recipe, base=dict(base)).standard  # noqa: B018
    except ValidationError as error:
        found = {".".join(map(str, one["loc"])): _plain(one["msg"]) for one in error.errors()}
        in_base = "; ".join(f"{name}: {text}" if name else text for name, text in found.items() if name != STEPS)
        errors = {"steps": found.get(STEPS, ""), "base": in_base}
        raise RefusedOrderError({name: text for name, text in errors.items() if text}) from error
    except ValueError as error:
        raise RefusedOrderError({"base": str(error)}) from error


def _of_field(error: Mapping[str, Any]) -> tuple[str, str]:
    """The field that an error of the whole is about, and its text."""
    text, place = _plain(error["msg"]), ".".join(str(part) for part in error["loc"] if not isinstance(part, int))
    if not place:
        # Checks of several settings name the first of them first.
        place = text.replace(":", " ").split()[0]
        place = "recipe" if text.startswith("unknown recipe") else place
    field = FIELD_OF_SETTING.get(place, place)
    known = {*PLAIN_FIELDS, *FIELD_OF_SETTING.values(), "seeds", "base"}
    return (field if field in known else ELSEWHERE), text


def _misfits(space: Space, config: SweepConfig | None = None) -> dict[str, str]:
    """Errors of single dimensions, by themselves or in a configuration; where there are none, of all together."""
    errors = {name: text for name, values in space.items() if (text := _misfit({name: values}, config))}
    if space and not errors and (text := _misfit(space, config)):
        errors[ELSEWHERE] = text
    return errors


def _misfit(space: Space, config: SweepConfig | None) -> str:
    try:
        dimensions = parse_space(space)
        if config is not None:
            # Named blocks fit every transformer, and the sweep itself checks numbers of blocks against its teacher.
            require_fit(dimensions, config.standard, num_blocks=1)
        if config is not None and config.grid:
            grid_points(dimensions)
    except ValueError as problem:
        return str(problem)
    return ""


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
