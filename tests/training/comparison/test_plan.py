"""Which runs a comparison has, where they lie, and what it refuses to go on with."""

from __future__ import annotations

import pytest

from ladd_ray.training.comparison.plan import Trainee, claim, prepare_comparison
from tests.training.comparison.conftest import BASE, Configure


def test_every_seed_trains_every_arm(configure: Configure) -> None:
    plan = prepare_comparison(configure(seeds=(3, 5)))
    assert plan.trainees == [Trainee(arm, seed) for seed in (3, 5) for arm in ("ladd", "add", "lcm")]


def test_a_run_has_its_own_folder_seed_and_steps_and_shares_latents(configure: Configure) -> None:
    plan = prepare_comparison(configure(studies=("methods", "data")))
    runs = {arm: plan.run_config(Trainee(arm, 5), steps=7) for arm in plan.arms}
    for arm, run in runs.items():
        assert run.run.path == plan.folder / "runs" / f"{arm}-seed5"
        assert (run.run.seed, run.run.steps, run.run.num_workers) == (5, 7, 0)
    assert runs["ladd"].data.latents == runs["add"].data.latents == runs["lcm"].data.latents
    assert runs["ladd"].data.latents != runs["real"].data.latents


def test_arms_share_the_cost_of_their_workload(configure: Configure) -> None:
    plan = prepare_comparison(configure(studies=("distillation", "renoise")))
    assert {arm: plan.workload(arm) for arm in plan.arms} == {
        "ladd": "ladd",
        "distilled": "distilled",
        "real": "ladd",
        "real-distilled": "distilled",
        "renoise-0": "ladd",
        "renoise-0.5": "ladd",
        "renoise-1": "ladd",
        "renoise-2": "ladd",
    }


def test_a_finished_run_is_known_by_its_export(configure: Configure) -> None:
    plan = prepare_comparison(configure())
    trainee = plan.trainees[0]
    config = plan.run_config(trainee, steps=7)
    assert not plan.finished(trainee, config)
    plan.run_folder(trainee).export.mkdir()
    assert plan.finished(trainee, config)
    with pytest.raises(ValueError, match=r"run.steps: 7 there, 8 now"):
        plan.finished(trainee, plan.run_config(trainee, steps=8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 2.0}, "seconds: 1.0 there, 2.0 now"),
        ({"base": {**BASE, "student.lr": "0.5"}}, "base.student.lr: None there, 0.5 now"),
        ({"num_images": 9}, "num_images: 8 there, 9 now"),
        ({"run__threads_per_worker": 2}, "run.threads_per_worker: 1 there, 2 now"),
    ],
)
def test_another_comparison_of_the_same_name_is_refused(
    configure: Configure, changes: dict[str, object], message: str
) -> None:
    claim(prepare_comparison(configure()))
    with pytest.raises(ValueError, match="another comparison") as refusal:
        prepare_comparison(configure(**changes))
    assert message in str(refusal.value)


def test_further_studies_and_seeds_join(configure: Configure) -> None:
    claim(prepare_comparison(configure()))
    plan = prepare_comparison(configure(studies=("renoise",), seeds=(0, 1), run__batch_size=7))
    assert len(plan.trainees) == 10


def test_the_plan_says_what_is_left_to_do(configure: Configure) -> None:
    plan = prepare_comparison(configure(seeds=(0, 1), seconds=95))
    assert "6 runs of 95 s" in plan.describe()
    # 95 s of steps and 25 s around them, for each run.
    assert "12 min of training" in plan.describe()
    plan.run_folder(plan.trainees[0]).export.mkdir(parents=True)
    assert "5 runs of 95 s" in plan.describe() and "10 min of training" in plan.describe()
