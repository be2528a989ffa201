"""What a sweep says of its points: intervals, ties, and the table for documents."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from scipy.stats import t as student_t

from ladd_ray.evaluation.sweep_importance import FEWEST_TRIALS, importance
from ladd_ray.evaluation.sweep_margins import margins
from ladd_ray.evaluation.sweep_study import (
    Configuration,
    Interval,
    advantage,
    configurations,
    leader,
    short_names,
    student_quantile,
    value_text,
)
from ladd_ray.evaluation.sweep_table import study_table
from ladd_ray.sweep_records import TrialRecord, TrialsRecord
from tests.tune.records import PLANE, WIDE, plane_trials, searched_trials, sweep_record, trial_record, write_sweep


@pytest.mark.parametrize("degrees", [1, 2, 5, 20, 21, 30, 200])
def test_quantiles_are_students(degrees: int) -> None:
    assert student_quantile(degrees) == pytest.approx(student_t.ppf(0.975, degrees), abs=4e-4)


def test_interval_of_three_seeds() -> None:
    interval = Interval.of([0.8, 0.9, 1.0])
    assert interval.mean == pytest.approx(0.9)
    assert interval.half_width == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert interval.text(2) == "0.90 +- 0.25"


def test_single_seed_has_no_interval() -> None:
    interval = Interval.of([0.8])
    assert interval.half_width is None
    assert interval.text() == "0.800"
    assert not interval.excludes_zero


def test_names_are_short_while_they_differ() -> None:
    names = ("student.lr", "discriminator.lr", "noise.renoise_mean")
    assert list(short_names(names).values()) == ["student.lr", "discriminator.lr", "renoise_mean"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (0.00012345678, "0.0001235"), (None, "default"), ([0, 2], "0, 2"), ("all", "all"), (3, "3")],
)
def test_values_for_people(value: object, text: str) -> None:
    assert value_text(value) == text


def test_leader_has_the_best_mean_by_the_deciding_score() -> None:
    found = configurations(TrialsRecord(trials=tuple(plane_trials())))
    best = {"noise.renoise_mean": 0.0, "noise.renoise_std": 1.0}
    by_judge, by_kid = (leader(sweep_record(PLANE, grid=True, metric=metric), found) for metric in ("judge", "kid"))
    assert by_judge is not None
    assert by_kid is not None
    assert by_judge.point == by_kid.point == best


def test_leader_needs_all_seeds_that_others_have() -> None:
    whole = [trial_record(seed, {"a": 1}, judge=[0, 0, 0.5], configuration=0, seed=seed) for seed in range(3)]
    lucky = trial_record(3, {"a": 2}, judge=[0, 0, 0.9], configuration=1, seed=0)
    found = configurations(TrialsRecord(trials=(*whole, lucky)))
    best = leader(sweep_record(PLANE, grid=True), found)
    assert best is not None
    assert best.number == 0


def test_nobody_leads_before_the_last_step() -> None:
    early = trial_record(0, {"a": 1}, judge=[0.5, 0.6])
    assert leader(sweep_record(PLANE, grid=True), configurations(TrialsRecord(trials=(early,)))) is None


def test_advantage_pairs_seeds() -> None:
    def of(number: int, values: list[float]) -> Configuration:
        trials = [trial_record(seed, {}, judge=[0, 0, value], seed=seed) for seed, value in enumerate(values)]
        return Configuration(number, {}, tuple(trials))

    ahead = advantage(of(0, [0.5, 0.7, 0.9]), of(1, [0.4, 0.6, 0.8]), metric="judge", step=100)
    assert ahead is not None
    assert ahead.mean == pytest.approx(0.1)
    assert ahead.half_width == pytest.approx(0, abs=1e-9)
    assert ahead.excludes_zero


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]


def test_table_has_a_row_for_each_point(tmp_path: Path) -> None:
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), plane_trials()))
    points = table.split("Each setting by itself")[0]
    head, *rows = rows_of(points)
    assert head == ["renoise_mean", "renoise_std", "kid", "judge", "seeds", "judge behind the best"]
    assert len(rows) == 6
    assert rows[3] == ["0", "1", "0.0933 +- 0.0166", "0.920 +- 0.050", "3 of 3", "-"]
    assert rows[1][-1] == "0.100 +- 0.000"
    assert "Best by judge: renoise_mean 0 · renoise_std 1. Of 5 others, 0 are level with it." in table


def test_rows_of_a_grid_are_in_the_order_of_its_values(tmp_path: Path) -> None:
    trials = plane_trials()
    swapped = [trial.model_copy(update={"configuration": 5 - trial.configuration}) for trial in trials]
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), swapped))
    assert [row[:2] for row in rows_of(table)[1:4]] == [["-1", "0.5"], ["-1", "1"], ["0", "0.5"]]


def test_table_tells_what_each_setting_does_by_itself(tmp_path: Path) -> None:
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), plane_trials()))
    head, *rows = rows_of(table.split("Each setting by itself")[1])
    assert head == ["setting", "value", "kid", "judge", "judge behind its best"]
    assert [row[:2] for row in rows] == [["renoise_mean", value] for value in ("-1", "0", "1")] + [
        ["renoise_std", value] for value in ("0.5", "1")
    ]
    assert [row[4] for row in rows] == ["0.100 +- 0.000", "-", "0.100 +- 0.000", "0.050 +- 0.000", "-"]
    # Over the two stds: .875, .895 and .915 for the three seeds.
    assert rows[1][3] == "0.895 +- 0.050"


def test_a_setting_is_compared_over_seeds_that_all_its_points_have(tmp_path: Path) -> None:
    trials = plane_trials()
    lost = [*trials[:4], trials[4].model_copy(update={"status": "collapsed", "scores": ()}), *trials[5:]]
    of_all, of_lost = (
        margins(sweep_record(PLANE, grid=True), configurations(TrialsRecord(trials=tuple(some))))
        for some in (trials, lost)
    )
    assert set(of_all[0][0].values("judge", step=100)) == {0, 1, 2}
    assert set(of_lost[0][0].values("judge", step=100)) == {0, 2}
    assert set(of_lost[0][1].values("judge", step=100)) == {0, 1, 2}


def test_what_is_no_whole_grid_has_no_table_of_single_settings(tmp_path: Path) -> None:
    part = configurations(TrialsRecord(trials=tuple(plane_trials()[:9])))
    assert margins(sweep_record(PLANE, grid=True), part) == []
    whole = configurations(TrialsRecord(trials=tuple(plane_trials())))
    assert margins(sweep_record(PLANE, grid=False), whole) == []


def test_table_tells_what_is_missing_from_the_means(tmp_path: Path) -> None:
    trials = plane_trials()
    trials[4] = trials[4].model_copy(update={"status": "collapsed", "scores": trials[4].scores[:2]})
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), trials))
    assert "Of 18 trials, 1 collapsed" in table
    assert rows_of(table)[2][4] == "2 of 3, 1 collapsed"


def test_who_failed_after_the_last_score_is_not_in_the_means(tmp_path: Path) -> None:
    trials = plane_trials()
    trials[4] = trials[4].model_copy(update={"status": "failed"})
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), trials))
    assert rows_of(table)[2][3:5] == ["0.820 +- 0.254", "2 of 3, 1 failed"]


def test_a_point_that_was_suggested_twice_is_one_seed() -> None:
    trials = [trial_record(number, {"a": 1}, judge=[0, 0, 0.5 + number / 5]) for number in range(2)]
    stopped = trial_record(2, {"a": 1}, judge=[0.4], status="stopped")
    found = Configuration(0, {"a": 1}, (*trials, stopped))
    assert found.values("judge", step=100) == {0: pytest.approx(0.6)}
    interval = found.interval("judge", step=100)
    assert interval is not None
    assert (interval.count, interval.half_width) == (1, None)


def test_table_of_a_sweep_that_has_just_begun(tmp_path: Path) -> None:
    running = trial_record(0, {"noise.renoise_mean": -1.0, "noise.renoise_std": 1.0}, judge=[], status="running")
    table = study_table(write_sweep(tmp_path, sweep_record(PLANE, grid=True), [running]))
    assert rows_of(table)[1] == ["-1", "1", "0 of 1, 1 running", "-"]


def searched(trials: list[TrialRecord]) -> TrialsRecord:
    return TrialsRecord(trials=tuple(trials))


def test_importance_finds_what_matters() -> None:
    found = importance(sweep_record(WIDE, grid=False), searched(searched_trials(40)))
    shares = list(found.shares.values())
    assert next(iter(found.shares)) == "noise.renoise_mean"
    assert shares[0] > 0.5
    assert all(one >= other for one, other in pairwise(shares))
    assert sum(shares) == pytest.approx(1)


def test_importance_says_why_there_is_none() -> None:
    sweep = sweep_record(WIDE, grid=False)
    few = importance(sweep, searched(searched_trials(FEWEST_TRIALS - 1)))
    assert not few.shares
    assert f"It takes {FEWEST_TRIALS} trials" in few.problem
    equal = [trial_record(number, trial.point, judge=[0.5] * 3) for number, trial in enumerate(searched_trials(10))]
    assert importance(sweep, searched(equal)).problem == "All scores are equal."


def test_importance_looks_at_the_largest_budget_that_enough_trials_reached() -> None:
    trials = searched_trials(16)
    stopped = [trial.model_copy(update={"scores": trial.scores[:1], "status": "stopped"}) for trial in trials[:9]]
    found = importance(sweep_record(WIDE, grid=False), searched([*stopped, *trials[9:]]))
    assert (found.step, found.num_trials) == (25, 16)
