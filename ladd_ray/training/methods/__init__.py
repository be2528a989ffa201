"""Methods of distillation, one file each: who trains in a step, on which loss. The loop knows only ``Method``.

A file of a method imports ``contract``, never this package, which imports them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ladd_ray.config import Config
from ladd_ray.interfaces import Engine
from ladd_ray.training.methods.add import build_add
from ladd_ray.training.methods.contract import Method, StepReport
from ladd_ray.training.methods.ladd import build_ladd
from ladd_ray.training.methods.lcm import build_lcm

__all__ = ["METHODS", "Method", "StepReport", "build_method"]

METHODS: Mapping[str, Callable[[Config, Engine], Method]] = MappingProxyType(
    {"ladd": build_ladd, "add": build_add, "lcm": build_lcm}
)
"""Builders by ``config.method``."""


def build_method(config: Config, engine: Engine) -> Method:
    """The networks of ``config.method``, placed in the engine: the same weights on every rank."""
    return METHODS[config.method](config, engine)
