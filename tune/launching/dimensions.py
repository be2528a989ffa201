"""Fields for the dimensions of a space: a tick, and its values or its bounds as a person writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel

from ladd_ray.config import Config
from ladd_ray.sweep_records import ChoiceRecord
from ladd_ray.sweep_space import parse_space

TICKED = "on"


@dataclass(frozen=True)
class DimensionField:
    """A dimension as the form shows it."""

    name: str
    description: str
    is_used: bool
    kind: str
    """choice, uniform or log_uniform."""
    values: str = ""
    """Of a choice, separated by commas."""
    low: str = ""
    high: str = ""
    error: str = ""


def dimension_fields(
    space: Mapping[str, Any], *, fields: Mapping[str, str] | None, errors: Mapping[str, str]
) -> Iterator[DimensionField]:
    """The form's dimensions.

    Args:
        space: As it is built in.
        fields: What a person sent; None shows the space as it is.
        errors: By names of fields.
    """
    for name, dimension in parse_space(space).items():
        if isinstance(dimension, ChoiceRecord):
            typed = {"values": ", ".join(json.dumps(value) for value in dimension.values)}
        else:
            typed = {"low": f"{dimension.low:g}", "high": f"{dimension.high:g}"}
        if fields is not None:
            typed = {part: fields.get(f"{part}:{name}", "") for part in typed}
        yield DimensionField(
            name=name,
            description=_description(name),
            is_used=fields is None or fields.get(f"use:{name}") == TICKED,
            kind=dimension.kind,
            error=errors.get(name, ""),
            **typed,
        )


def read_dimensions(space: Mapping[str, Any], fields: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The ticked part of a space with a person's values in it, as ``parse_space`` reads it, and errors by names."""
    chosen: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, dimension in parse_space(space).items():
        if fields.get(f"use:{name}") != TICKED:
            continue
        try:
            if isinstance(dimension, ChoiceRecord):
                chosen[name] = _values(fields.get(f"values:{name}", ""))
            else:
                chosen[name] = {dimension.kind: [_number(fields.get(f"{end}:{name}", "")) for end in ("low", "high")]}
        except ValueError as problem:
            errors[name] = str(problem)
    return chosen, errors


def _values(text: str) -> list[Any]:
    for read in (json.loads, yaml.safe_load):
        try:
            return list(read(f"[{text}]"))
        except (json.JSONDecodeError, yaml.YAMLError):
            continue
    raise ValueError(f"{text} is no list: separate the values by commas, such as 1, 2, 3 or all, last")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text or 'nothing'} is no number: give both bounds") from None


def _description(name: str) -> str:
    """What the configuration says of a setting, as far as the first full stop."""
    *sections, leaf = name.split(".")
    kind: type[BaseModel] = Config
    for section in sections:
        kind = _section(kind, section)
    text = " ".join((kind.model_fields[leaf].description or "").split())
    return text.split(". ")[0].rstrip(".")


def _section(kind: type[BaseModel], name: str) -> type[BaseModel]:
    section = kind.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    return section
