"""A comparison in numbers that were chosen: what the table, the targets and the verdicts make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ladd_ray.compare_config import STUDIES, Claim
from ladd_ray.evaluation.comparison import ArmResult, BySteps, Comparison, Scores, Spread, standing, verdict
from ladd_ray.evaluation.comparison_pictures import arm_row, comparison_chart, comparison_sheet
from ladd_ray.evaluation.comparison_table import comparison_table
from ladd_ray.evaluation.comparison_targets import targets
from ladd_ray.evaluation.scores import KidFloor

JUDGE = {1: 0.74, 2: 0.78, 4: 0.79}
KID = {1: 0.09, 2: 0.05, 4: 0.04}


def scores(judge: float, kid: float = 0.05, *, diversity: float = 0.3) -> Scores:
    return Scores(judge, 0.02, {"single": judge, "two": judge / 2}, kid, kid_real=kid + 1, diversity=diversity)


def students(
    lead: float = 0.0, *, kid: float = 0.0, spreads: Sequence[float] = (-0.01, 0.0, 0.01), diversity: float = 0.3
) -> BySteps:
    """LADD's scores, moved; one seed for each of the spreads."""
    return {
        steps: {
            seed: scores(JUDGE[steps] + lead + spread, KID[steps] + kid, diversity=diversity)
            for seed, spread in enumerate(spreads)
        }
        for steps in JUDGE
    }


def arm(label: str, found: BySteps, *, seconds: float = 0.5, memory: int = 900_000_000) -> ArmResult:
    return ArmResult(label, seconds, memory, steps=240, seconds={0: 118.0, 1: 122.0, 2: 120.0}, scores=found)


@pytest.fixture
def comparison() -> Comparison:
    """LADD meets every target against a teacher with a judge score of 0.8."""
    return Comparison(
        protocol={"num_images": 256, "features": "EffNetLite0", "hash": "abcd"},
        machine="a laptop, 2 threads",
        batch_size=48,
        seconds=120.0,
        studies=("methods", "data"),
        seeds=(0, 1, 2),
        kid_floor=KidFloor(0.003, 0.01, num_pictures=256, num_splits=20),
        teacher_label="the teacher",
        teacher=scores(0.8, -0.01, diversity=0.32),
        few_steps={"Euler": {4: {0: scores(0.4, 0.2)}}},
        arms={
            "ladd": arm("LADD", students()),
            "add": arm("ADD", students(-0.1, kid=0.1), seconds=0.9, memory=1_500_000_000),
            "lcm": arm("LCM", students(-0.2, kid=0.2), seconds=0.7),
            "real": arm("LADD, real data", students(0.005)),
        },
    )


def test_spread_is_the_deviation_of_the_sample() -> None:
    assert Spread.of([1.0, 2.0, 3.0]) == Spread(2.0, 1.0)
    assert Spread.of([0.25]).text(2) == "0.25"
    assert Spread.of([0.2, 0.3]).text() == "0.250 +- 0.071"


@pytest.mark.parametrize(
    ("lead", "expected"), [(0.03, "ahead"), (0.014, "level"), (-0.014, "level"), (-0.03, "behind")]
)
def test_arms_are_level_within_their_joint_spread(lead: float, expected: str) -> None:
    # Both have a deviation of 0.01, jointly 0.0141.
    assert standing(students(lead)[4], students()[4]) == expected


def test_verdicts_say_who_agrees_with_the_paper(comparison: Comparison) -> None:
    better = Claim("LADD is better", "ladd", "add")
    assert verdict(better, comparison).startswith("Agrees: LADD is better. Here: 1 step ahead (0.740 +- 0.010 against")
    assert verdict(replace(better, arm="add", other="ladd"), comparison).startswith("Disagrees")
    assert verdict(replace(better, other="real"), comparison).startswith("Undecided")
    assert verdict(replace(better, other="real", expected="level"), comparison).startswith("Agrees")
    assert verdict(replace(better, expected="level"), comparison).startswith("Disagrees")


@pytest.mark.parametrize("alone", [("ladd",), ("add",), ("ladd", "add")])
def test_a_single_seed_decides_nothing(comparison: Comparison, alone: tuple[str, ...]) -> None:
    arms = {
        name: arm(name, {steps: {0: by_seed[0]} for steps, by_seed in comparison.arms[name].scores.items()})
        for name in alone
    }
    found = replace(comparison, arms={**comparison.arms, **arms})
    for claim in (Claim("so", "ladd", "add"), Claim("so", "add", "ladd"), Claim("so", "ladd", "add", "level")):
        assert verdict(claim, found).startswith("Undecided: so. Here: 1 step ")


def test_a_lead_at_some_steps_only_is_undecided(comparison: Comparison) -> None:
    mixed = {**students(), 1: students(-0.2)[1]}
    found = replace(comparison, arms={**comparison.arms, "add": arm("ADD", {**students(), 4: students(-0.2)[4]})})
    assert verdict(Claim("so", "ladd", "add"), found).startswith("Undecided")
    found = replace(comparison, arms={**comparison.arms, "ladd": arm("LADD", mixed)})
    assert verdict(Claim("so", "ladd", "real"), found).startswith("Disagrees")


def test_all_targets_are_met(comparison: Comparison) -> None:
    found = targets(comparison)
    assert len(found) == 3 + 2 + 1 + 2 * 2 + 2
    assert all(target.met for target in found), [str(target) for target in found if not target.met]


@pytest.mark.parametrize(
    ("ladd", "missed"),
    [
        (arm("LADD", students(-0.03)), ["in 4 steps at least 0.97", "in 2 steps at least 0.95", "in 1 step at least"]),
        (arm("LADD", students(-0.015)), ["in 4 steps at least 0.97"]),
        (arm("LADD", students(kid=0.017)), ["2 times its split-half KID + 0.05"]),
        (arm("LADD", {**students(), 1: students(kid=0.04)[1]}), ["at most 3 times that in 4"]),
        (arm("LADD", students(diversity=0.27)), ["diversity at least 0.85"]),
        (arm("LADD", students(), seconds=1.0), ["less time than ADD's"]),
        (arm("LADD", students(), memory=2_000_000_000), ["less memory than ADD's"]),
    ],
)
def test_a_missed_target_is_named(comparison: Comparison, ladd: ArmResult, missed: list[str]) -> None:
    found = [str(target) for target in targets(replace(comparison, arms={**comparison.arms, "ladd": ladd}))]
    lines = [line for line in found if line.startswith("MISSED")]
    assert len(lines) == len(missed)
    assert all(words in line for words, line in zip(missed, lines, strict=True)), lines


def test_a_rival_ahead_at_one_number_of_steps_is_a_missed_target(comparison: Comparison) -> None:
    rival = arm("LCM", {**students(-0.2, kid=0.2), 2: students(0.01, kid=0.2)[2]})
    missed = [
        target for target in targets(replace(comparison, arms={**comparison.arms, "lcm": rival})) if not target.met
    ]
    assert [target.aim for target in missed] == ["ahead of LCM by judge score at every number of steps"]


def test_a_kid_below_zero_is_no_distance_to_multiply(comparison: Comparison) -> None:
    ladd = {4: {0: scores(0.79, -0.002)}, 1: {0: scores(0.75, 0.025)}}
    found = replace(comparison, arms={"ladd": arm("LADD", ladd)})
    assert all(target.met for target in targets(found)), list(map(str, targets(found)))


def test_without_ladd_there_are_no_targets(comparison: Comparison) -> None:
    assert targets(replace(comparison, arms={"add": comparison.arms["add"]})) == []


def test_the_table_holds_every_number(comparison: Comparison) -> None:
    text = comparison_table(replace(comparison, failed=("lcm-seed2",)))
    assert "| LADD, 4 steps | 0.790 +- 0.010 | 0.99 | 0.0400 | 1.0400 | 0.94 |" in text
    assert "| the teacher | 0.800 | 1.00 | -0.0100 | 0.9900 | 1.00 |" in text
    assert "| Euler, 4 steps | 0.400 | 0.50 | 0.2000 |" in text
    assert "| LADD | 0.500 | 240 | 11520 | 120 | 900 |" in text
    assert "| ADD | 0.69 +- 0.01 | 0.3" in text
    assert "halves of the teacher's pictures: 0.0030 +- 0.0100" in text
    assert "seeds 0, 1, 2; after +- stands their standard deviation, which is no confidence interval." in text
    assert "missing: lcm-seed2." in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Targets",
        "The teacher itself",
        "Methods",
        "Synthetic or real data",
        "Judge by category, students in 4 steps",
        "Cost of training",
    ]


def test_an_arm_that_failed_leaves_its_study_without_its_claims(comparison: Comparison) -> None:
    text = comparison_table(replace(comparison, arms={"ladd": comparison.arms["ladd"], "add": comparison.arms["add"]}))
    assert "better than ADD" in text and "better than LCM" not in text
    assert "latents of the teacher teach better" not in text


def test_the_chart_has_a_column_for_each_study(comparison: Comparison, tmp_path: Path) -> None:
    widths = []
    for studies in (comparison.studies, ("methods",)):
        comparison_chart(replace(comparison, studies=studies), tmp_path / "chart.png")
        with Image.open(tmp_path / "chart.png") as chart:
            widths.append(chart.width)
            assert len(np.unique(np.asarray(chart.convert("RGB")) @ (1, 256, 65536))) > 100
    assert widths[0] > 1.7 * widths[1]


def test_the_sheet_has_a_row_for_each_arm(tmp_path: Path) -> None:
    red = [np.full((64, 64, 3), (200, 0, 0), dtype=np.uint8)] * 2
    drawn = {name: {1: red, 4: red} for name in ("ladd", "add", "lcm")}
    beside = arm_row("teacher", {0: red, 1: red}, captions=["a cat", "a dog"])
    heights = []
    for names in (("ladd",), ("ladd", "add", "lcm")):
        shown = {name: drawn[name] for name in names}
        comparison_sheet([STUDIES["methods"], STUDIES["data"]], shown, beside=beside, path=tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
            heights.append(int((pixels == (200, 0, 0)).all(axis=-1).sum()))
    # Four pictures a row; the second study shows LADD alone, too.
    assert heights[0] == pytest.approx(4 / 6 * heights[1], rel=0.1)
