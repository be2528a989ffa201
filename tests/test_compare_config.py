"""Arms and studies fit together, and mistakes in a comparison are named before anything runs."""

from __future__ import annotations

import pytest

from ladd_ray.compare_config import ARMS, STUDIES, CompareConfig, configured
from ladd_ray.config import override
from ladd_ray.recipes import RECIPES


def test_every_arm_is_a_recipe_with_changes_that_exist() -> None:
    for name, arm in ARMS.items():
        config = configured(CompareConfig(), name)
        assert config.recipe == arm.recipe
        for setting, value in arm.changes.items():
            assert override(config, {setting: value}) == config
            assert override(RECIPES[arm.recipe](), {setting: value}) != RECIPES[arm.recipe]()


def test_studies_name_arms_and_claims_name_arms_of_their_study() -> None:
    assert {arm for study in STUDIES.values() for arm in study.arms} == set(ARMS)
    for study in STUDIES.values():
        assert all({claim.arm, claim.other} <= set(study.arms) for claim in study.claims)


def test_arms_that_several_studies_share_come_once() -> None:
    arms = CompareConfig().arms
    assert len(arms) == len(set(arms)) == len(ARMS)
    assert CompareConfig(studies=("renoise",)).arms == ("ladd", "renoise-0", "renoise-0.5", "renoise-1", "renoise-2")


def test_the_study_of_the_renoising_level_has_the_means_of_the_paper() -> None:
    means = {configured(CompareConfig(), arm).noise.renoise_mean for arm in STUDIES["renoise"].arms}
    assert means == {-1.0, 0.0, 0.5, 1.0, 2.0}


def test_what_costs_the_same_is_one_workload() -> None:
    assert ARMS["real"].workload == ARMS["ladd"].workload == ARMS["renoise-2"].workload
    assert ARMS["real-distilled"].workload == ARMS["distilled"].workload
    assert len({str(ARMS[arm].workload) for arm in ("ladd", "add", "lcm", "distilled")}) == 4


def test_base_and_the_comparison_reach_every_arm() -> None:
    config = CompareConfig(base={"run.global_batch_size": "24", "noise.probabilities": "[0.4, 0.2, 0.2, 0.2]"})
    for arm in config.arms:
        found = configured(config, arm)
        assert found.run.global_batch_size == 24
        assert found.noise.probabilities == (0.4, 0.2, 0.2, 0.2)
        assert (found.run.num_workers, found.run.engine, found.run.threads_per_worker) == (0, "local", 1)
        assert not found.health.stop


def test_what_an_arm_is_about_wins_over_base() -> None:
    config = CompareConfig(base={"noise.renoise_mean": "0.3"})
    assert configured(config, "ladd").noise.renoise_mean == 0.3
    assert configured(config, "renoise-2").noise.renoise_mean == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"studies": ("colours",)}, "'methods', 'data', 'distillation' or 'renoise'"),
        ({"seeds": (1, 1)}, "must be distinct"),
        ({"seeds": ()}, "at least one"),
        ({"student_steps": (1, 5)}, "must lie in 1..4"),
        ({"base": {"student.lrr": "1"}}, "unknown setting 'student.lrr'"),
        ({"base": {"run.steps": "5"}}, "sets run.steps itself"),
        ({"base": {"run.seed": "5", "teacher.path": "x"}}, "sets run.seed, teacher.path itself"),
        ({"studies": ("methods",), "base": {"lora.rank": "4"}}, "does not read lora"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompareConfig.model_validate(changes)
