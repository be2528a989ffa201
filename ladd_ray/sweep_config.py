"""The configuration of a sweep, for ``tune/sweep.py``: which recipe, how many trials, and when one is stopped.

The space that is searched stands in ``sweep_space``. Every message says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import Field, model_validator

from ladd_ray.config import Config, override
from ladd_ray.recipes import RECIPES
from ladd_ray.sections import Section
from ladd_ray.sweep_records import MetricName

OF_SWEEP = (
    "run.name", "run.directory", "run.seed", "data.latents", "milestones.every", "milestones.reference",
    "tracking.parent_run_id",
)  # fmt: skip
"""Settings of trials that a sweep decides itself."""


class StoppingSection(Section):
    """Asynchronous successive halving (ASHA, arXiv 1810.05934), over scores and never over losses."""

    first_rung: int | None = Field(default=None, ge=1)
    """Steps after which a trial can be stopped for the first time; by default those of the first score."""
    reduction_factor: int = Field(default=2, ge=2)
    """A trial goes on from a rung when it is among the best 1 / factor that came so far; the next rung lies that many
    times later."""


class SweepWork(Section):
    """Where everything lies, and how much runs at once."""

    name: str = Field(default="sweep", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the sweep and of its folder. The same name and configuration continue it."""
    directory: str = "runs"
    """Folder of all runs, on storage that all workers share; see the setting of the same name of a run."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at once; by default as many as the cluster has room for."""
    report_every_s: float = Field(default=20.0, gt=0)
    """Seconds between two looks for news, which go into the log and into the report."""


class SweepConfig(Section):
    """A whole sweep."""

    recipe: str
    """Recipe of jobs/distill.py that every trial begins as."""
    space: str = "noise"
    """What is searched: noise, heads, training, all, or a JSON or YAML file of your own (docs/sweeps.md)."""
    samples: int = Field(default=8, ge=1)
    """Trials; a grid takes all of its points instead."""
    grid: bool = False
    """Take every point of the grid of that name, each to the end: the noise study and the heads study. A file's lists
    are a grid as they are."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds. A grid takes every point with every seed; a search has one."""
    base: dict[str, str] = Field(default_factory=dict)
    """Changes of the recipe that all trials share, by dotted names: --base run.steps 100 run.num_workers 0."""
    score_every: int | None = Field(default=None, ge=1)
    """Steps between two scores of a trial; by default an eighth of its steps."""
    metric: MetricName = "kid"
    """Score that decides: kid is to be low, judge to be high."""
    stopping: StoppingSection = StoppingSection()
    seed: int = 0
    """Of the search."""
    run: SweepWork = SweepWork()

    @property
    def standard(self) -> Config:
        """The recipe with the changes that all trials share."""
        changes = {name.replace("-", "_"): _parsed(text) for name, text in self.base.items()}
        # A trial that fails is a result; another attempt at it would take the time of others.
        return override(RECIPES[self.recipe](), {"run.max_failures": 0, **changes})

    @property
    def scored_every(self) -> int:
        """Steps between two scores."""
        return self.score_every or max(self.standard.run.steps // 8, 1)

    @property
    def scored_at(self) -> tuple[int, ...]:
        """All steps with a score; the last step has one."""
        every, steps = self.scored_every, self.standard.run.steps
        return (*range(every, steps, every), steps)

    @property
    def first_rung(self) -> int:
        """The earliest end of a trial that is behind."""
        return self.stopping.first_rung or self.scored_every

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which trials can be stopped; none in a grid, whose points are compared at equal budgets."""
        if self.grid:
            return ()
        found, rung = [], self.first_rung
        while rung < self.standard.run.steps:
            found.append(rung)
            rung *= self.stopping.reduction_factor
        return tuple(found)

    @model_validator(mode="after")
    def _check_recipe(self) -> Self:
        if self.recipe not in RECIPES:
            near = nearest(self.recipe, RECIPES)
            raise ValueError(f"unknown recipe {self.recipe!r}: did you mean {near}? Known: {', '.join(RECIPES)}")
        return self

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        names = {name.replace("-", "_") for name in self.base}
        if ours := sorted(names.intersection(OF_SWEEP)):
            raise ValueError(f"base: a sweep sets {', '.join(ours)} itself; use run, seeds and score_every")
        self.standard  # noqa: B018
        return self

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {self.seeds} must be distinct, and at least one")
        if not self.grid and len(self.seeds) > 1:
            raise ValueError(f"seeds = {self.seeds}: a search trains each point once; give one seed, or set grid")
        return self

    @model_validator(mode="after")
    def _check_rungs(self) -> Self:
        steps = self.standard.run.steps
        if self.scored_every > steps:
            raise ValueError(f"score_every = {self.score_every} exceeds the {steps} steps of a trial: lower it")
        if self.first_rung % self.scored_every:
            raise ValueError(
                f"stopping.first_rung = {self.first_rung} must be a multiple of score_every = {self.scored_every}, "
                "since trials are stopped for their scores"
            )
        return self


def nearest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """The known name that looks most like an unknown one."""
    return get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def _parsed(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
