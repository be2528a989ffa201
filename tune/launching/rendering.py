"""Pages from templates, which escape every text."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, get_args

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ladd_ray.recipes import RECIPES
from ladd_ray.sweep_records import MetricName
from tune.spaces import GRIDS, SPACES

from .dimensions import dimension_fields
from .order import find_built_in

TEMPLATES = Path(__file__).parent / "pages"
STYLE = Path(str(files("ladd_ray"))) / "assets" / "sweeps" / "page.css"
"""Shared with the report."""
FIRST_SPACE = "search:noise"
SPACE_GROUPS = {
    "Search: Optuna chooses points, ASHA stops those behind": [f"search:{name}" for name in SPACES],
    "Grid: every point, each to the end, with every seed": [f"grid:{name}" for name in GRIDS],
}
Content = dict[str, Any]


PAGES = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def page(template: str, content: Content, *, status: int = 200) -> HTMLResponse:
    """An answer with the page of that name."""
    return HTMLResponse(PAGES.get_template(template).render(content), status_code=status)


def form_content(fields: Mapping[str, str], errors: Mapping[str, str], *, was_sent: bool, directory: Path) -> Content:
    """The variables of the form.

    Args:
        fields: What stands in it; a form that is shown for the first time has at most a recipe and a space.
        errors: By names of fields.
        was_sent: Whether a person filled it in.
        directory: Of all runs.
    """
    recipe = fields.get("recipe") if fields.get("recipe") in RECIPES else next(iter(RECIPES))
    assert recipe is not None
    choice = _known_space(fields.get("space", FIRST_SPACE))
    is_grid, name, built_in = find_built_in(choice)
    values = dict(fields) if was_sent else {"name": _free_name(name, directory), "seeds": "0 1 2" if is_grid else "0"}
    return {
        "recipes": {known: (make.__doc__ or "").splitlines()[0] for known, make in RECIPES.items()},
        "recipe": recipe,
        "usual_steps": RECIPES[recipe]().run.steps,
        "space_groups": SPACE_GROUPS,
        "space": choice,
        "is_grid": is_grid,
        "metrics": get_args(MetricName),
        "values": {"samples": "8", "metric": "kid", **values},
        "errors": errors,
        "dimensions": list(dimension_fields(built_in, fields=fields if was_sent else None, errors=errors)),
    }


def _known_space(choice: str) -> str:
    return choice if any(choice in group for group in SPACE_GROUPS.values()) else FIRST_SPACE


def _free_name(space: str, directory: Path) -> str:
    return next(name for number in count(1) if not (directory / (name := f"{space}-{number}")).exists())
