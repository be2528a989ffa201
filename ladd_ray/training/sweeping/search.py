"""How Tune picks points and ends trials: a whole grid, or Optuna's search with ASHA over scores."""

from __future__ import annotations

import json
import logging
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from ladd_ray.config import RunConfig
from ladd_ray.sweep_records import ChoiceRecord, DimensionRecord, RangeRecord
from ladd_ray.training.sweeping.plan import SweepPlan
from ladd_ray.training.sweeping.trial import SEED, trial_name

MODES = {"kid": "min", "judge": "max"}
NEXT_TO_NOTHING = {"memory": 1.0}
"""Of a trial whose workers do the work: its driver only waits, and must not take their place. Tune wants something."""


class PruningSearch(OptunaSearch):
    """Optuna's search, which is told the truth about trials that did not reach their last step.

    Ray's calls a stopped trial complete, with the score of a smaller budget, and forgets a collapsed one. Both are
    pruned here: the sampler ranks them behind all complete ones, by how far they came.
    """

    def __init__(self, space: dict[str, Any], *, metric: str, mode: str, seed: int, steps: int) -> None:
        """See ``OptunaSearch``; ``steps`` is the full budget."""
        super().__init__(space, metric=metric, mode=mode, seed=seed)
        self._steps = steps

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna a score. The end of a trial comes as its last score once more, or as none at all."""
        if self.metric in result and not result.get("done"):
            super().on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how a trial ended."""
        whole = result is not None and result.get("step", 0) >= self._steps
        super().on_trial_complete(trial_id, result if whole else None, error=error)


def tune_config(plan: SweepPlan) -> tune.TuneConfig:
    """How trials are picked, ended, and how many run at once."""
    config = plan.config
    return tune.TuneConfig(
        metric=config.metric,
        mode=MODES[config.metric],
        search_alg=_search(plan),
        scheduler=_scheduler(plan),
        num_samples=1 if config.grid else config.samples,
        max_concurrent_trials=concurrent_trials(plan),
        # The next trial finds everything imported. A driver of workers cannot be interrupted, and is killed instead.
        reuse_actors=plan.standard.config.run.num_workers == 0,
        trial_name_creator=_name,
        trial_dirname_creator=_name,
    )


def param_space(plan: SweepPlan) -> dict[str, Any]:
    """What Tune expands; a search has its own space."""
    seeds = plan.config.seeds
    if not plan.config.grid:
        return {SEED: seeds[0]}
    choices = {name: tune.grid_search(_texts(dimension)) for name, dimension in plan.choices.items()}
    # Tune changes the first name fastest: the seed comes last, so that a first table can be had early.
    return {**choices, SEED: tune.grid_search(list(seeds))}


def trial_resources(run: RunConfig) -> dict[str, float]:
    """What Tune reserves for a trial itself; Ray Train reserves the rest for its workers."""
    if run.num_workers:
        return dict(NEXT_TO_NOTHING)
    return {"cpu": run.threads_per_worker, "gpu": 1.0 if run.device == "gpu" else 0.0}


def fitting_trials(run: RunConfig, offered: dict[str, float]) -> int:
    """How many trials the resources of a cluster hold, at least one."""
    workers = max(run.num_workers, 1)
    by_cpu = int(offered.get("CPU", 0) // (workers * run.threads_per_worker))
    by_gpu = int(offered.get("GPU", 0) // workers) if run.device == "gpu" else by_cpu
    return max(min(by_cpu, by_gpu), 1)


def concurrent_trials(plan: SweepPlan) -> int:
    """How many trials run at once on the cluster that is there."""
    import ray

    run = plan.standard.config.run
    return plan.config.run.max_concurrent or fitting_trials(run, ray.cluster_resources())


def _name(trial: Trial) -> str:
    return trial_name(trial.trial_id)


def _search(plan: SweepPlan) -> PruningSearch | None:
    config = plan.config
    if config.grid:
        return None
    logging.getLogger("optuna").setLevel(logging.WARNING)
    return PruningSearch(
        {name: _distribution(dimension) for name, dimension in plan.space.items()},
        metric=config.metric,
        mode=MODES[config.metric],
        seed=config.seed,
        steps=plan.standard.config.run.steps,
    )


def _distribution(dimension: DimensionRecord) -> BaseDistribution:
    if isinstance(dimension, RangeRecord):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log_uniform")
    return CategoricalDistribution(_texts(dimension))


def _texts(dimension: ChoiceRecord) -> list[str]:
    """Values as JSON: Optuna's samplers compare plain values only."""
    return [json.dumps(value) for value in dimension.values]


def _scheduler(plan: SweepPlan) -> TrialScheduler:
    config, steps = plan.config, plan.standard.config.run.steps
    if not config.rungs:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="step",
        # The last score is not a rung: who came so far is to leave its export.
        max_t=max(steps - 1, config.first_rung),
        grace_period=config.first_rung,
        reduction_factor=config.stopping.reduction_factor,
        stop_last_trials=False,
    )
