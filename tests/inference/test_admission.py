"""Letting work in by its predicted duration."""

from __future__ import annotations

import pytest

from ladd_ray.inference.admission import Admission, Overloaded


@pytest.fixture
def admission() -> Admission:
    """100 units of work in a second, 10 seconds of which may wait."""
    made = Admission(max_backlog_s=10.0)
    made.measured(1000, seconds=10.0)
    return made


def test_as_much_is_let_in_as_gets_done_in_time(admission: Admission) -> None:
    for _ in range(2):
        admission.admit(500)
    with pytest.raises(Overloaded) as refusal:
        admission.admit(300)
    assert refusal.value.predicted_s == pytest.approx(13.0)
    assert refusal.value.retry_after_s == 3
    assert "13.0 seconds" in str(refusal.value)
    assert admission.backlog == 1000


def test_the_promise_to_come_back_is_kept(admission: Admission) -> None:
    busy = admission.admit(1000)
    with pytest.raises(Overloaded) as refusal:
        admission.admit(450)
    busy.spend(100 * refusal.value.retry_after_s)
    admission.admit(450)


def test_a_deadline_of_ones_own_may_be_shorter(admission: Admission) -> None:
    admission.admit(400)
    with pytest.raises(Overloaded) as refusal:
        admission.admit(100, within_s=2.0)
    assert refusal.value.retry_after_s == 3
    admission.admit(100, within_s=5.0)


def test_the_first_piece_is_always_let_in_and_later_ones_wait_until_it_is_gone(admission: Admission) -> None:
    admission.admit(5000)
    with pytest.raises(Overloaded) as refusal:
        admission.admit(4000)
    assert refusal.value.retry_after_s == 50


def test_work_that_is_done_or_given_up_makes_room(admission: Admission) -> None:
    work = admission.admit(1000)
    work.spend(250)
    assert admission.backlog == 750
    work.close()
    work.close()
    work.spend(10)
    assert admission.backlog == 0


def test_before_anything_was_measured_everything_is_let_in() -> None:
    admission = Admission(max_backlog_s=0.1)
    assert admission.rate is None
    for _ in range(3):
        admission.admit(10**9)


def test_recent_measurements_weigh_more(admission: Admission) -> None:
    for _ in range(100):
        admission.measured(400, seconds=1.0)
    assert admission.rate == pytest.approx(400, rel=0.02)
