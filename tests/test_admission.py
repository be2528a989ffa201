"""Letting work in by its predicted duration."""

from __future__ import annotations

import pytest

from ladd_ray.admission import LONGEST_WAIT_S, Admission, Overloaded


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Works:
    """An admission before machines that do 100 units in a second, and 10 seconds of work at most may wait."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.admission = Admission(max_backlog_s=10.0, clock=self.clock)
        self.do(1000, seconds=10.0)

    def do(self, cost: float, *, seconds: float) -> None:
        """Some work, alone, from beginning to end."""
        work = self.admission.admit(cost)
        self.clock.now += seconds
        work.spend(cost)

    def refused(self, cost: float, *, within_s: float = float("inf"), came_back: bool = False) -> Overloaded:
        with pytest.raises(Overloaded) as refusal:
            self.admission.admit(cost, within_s=within_s, came_back=came_back)
        return refusal.value


@pytest.fixture
def works() -> Works:
    return Works()


def test_as_much_is_let_in_as_gets_done_in_time(works: Works) -> None:
    works.admission.admit(500)
    works.admission.admit(290)
    refusal = works.refused(300)
    assert refusal.predicted_s == pytest.approx(10.9)
    assert "10.9 seconds" in str(refusal)
    assert works.admission.backlog == 790


def test_some_room_is_kept_for_those_who_come_back(works: Works) -> None:
    busy = works.admission.admit(800)
    told = max(works.refused(100).retry_after_s for _ in range(4))
    works.clock.now += told
    busy.spend(100 * told)
    works.admission.admit(790 - works.admission.backlog)
    works.refused(90)
    works.admission.admit(90, came_back=True)
    works.admission.admit(90, came_back=True)
    works.refused(90, came_back=True)


def test_no_more_can_come_back_than_were_turned_away(works: Works) -> None:
    busy = works.admission.admit(850)
    told = works.refused(100).retry_after_s
    works.clock.now += told
    busy.spend(100 * told)
    works.admission.admit(90, came_back=True)
    works.refused(10, came_back=True)


def test_whoever_comes_back_before_the_time_is_a_newcomer(works: Works) -> None:
    works.admission.admit(850)
    works.refused(100)
    works.refused(90, came_back=True)


def test_room_is_not_kept_for_those_who_stay_away(works: Works) -> None:
    busy = works.admission.admit(850)
    works.clock.now += works.refused(100).retry_after_s + 11.0
    busy.spend(850)
    room = 10.0 * (works.admission.rate or 0.0)
    works.admission.admit(0.85 * room)
    works.refused(0.1 * room, came_back=True)


def test_whoever_comes_back_when_told_to_is_let_in(works: Works) -> None:
    busy = works.admission.admit(800)
    told = works.refused(450).retry_after_s
    assert told == 3
    works.clock.now += told
    busy.spend(100 * told)
    works.admission.admit(450, came_back=True)


def test_those_told_earlier_have_their_turn_first(works: Works) -> None:
    works.admission.admit(800)
    assert [works.refused(400).retry_after_s for _ in range(4)] == [2, 6, 10, 14]


def test_nobody_is_counted_who_should_have_come_back_by_now(works: Works) -> None:
    busy = works.admission.admit(800)
    assert [works.refused(400).retry_after_s for _ in range(2)] == [2, 6]
    works.clock.now += 6.0
    busy.spend(600)
    works.admission.admit(590)
    assert works.refused(400).retry_after_s == 2


def test_nobody_is_told_a_time_that_clients_do_not_wait(works: Works) -> None:
    works.admission.admit(800)
    assert max(works.refused(400).retry_after_s for _ in range(100)) == LONGEST_WAIT_S


def test_a_deadline_of_ones_own_may_be_shorter(works: Works) -> None:
    works.admission.admit(400)
    assert works.refused(100, within_s=5.0).retry_after_s == 2
    assert works.refused(100, within_s=1.0).retry_after_s == 5
    works.admission.admit(100, within_s=12.0)


def test_the_first_piece_is_always_let_in_and_later_ones_wait_until_it_is_gone(works: Works) -> None:
    works.admission.admit(5000)
    assert works.refused(4000).retry_after_s == 50


def test_work_that_is_done_or_given_up_makes_room(works: Works) -> None:
    work = works.admission.admit(1000)
    work.spend(250)
    assert works.admission.backlog == 750
    work.close()
    work.close()
    work.spend(10)
    assert works.admission.backlog == 0


def test_before_anything_was_done_everything_is_let_in() -> None:
    admission = Admission(max_backlog_s=0.1)
    assert admission.rate is None
    for _ in range(3):
        admission.admit(10**9)


def test_idle_time_and_work_given_up_say_nothing_about_the_rate(works: Works) -> None:
    assert works.admission.rate == pytest.approx(100)
    works.clock.now += 1000.0
    works.admission.admit(10**6).close()
    assert works.admission.rate == pytest.approx(100)


def test_work_called_off_says_nothing_about_the_rate_and_work_that_came_too_late_does(works: Works) -> None:
    crowd = [works.admission.admit(70) for _ in range(8)]
    works.clock.now += 4.0
    crowd[0].spend(50)
    assert (works.admission.rate or 0.0) < 80, "a crowd seems to be served slowly"
    for work in crowd[1:]:
        work.abandon()
    assert works.admission.backlog == pytest.approx(20)
    before = works.admission.rate
    assert before == pytest.approx(100, rel=0.05)
    late = works.admission.admit(100)
    works.clock.now += 4.0
    late.close()
    assert (works.admission.rate or 0.0) < 0.9 * before


def test_recent_measurements_weigh_more(works: Works) -> None:
    for _ in range(100):
        works.do(400, seconds=1.0)
    assert works.admission.rate == pytest.approx(400, rel=0.05)


def test_what_a_crowd_gets_weighs_more_than_what_one_alone_gets() -> None:
    """Alone, work takes as long as it takes; how long a crowd waits follows from how fast a crowd is served."""
    works = Works()
    works.admission = Admission(max_backlog_s=20.0, clock=works.clock)

    def a_few_alone() -> None:
        for _ in range(10):
            works.do(10, seconds=0.1)

    a_few_alone()
    for work in [works.admission.admit(100) for _ in range(8)]:
        works.clock.now += 0.1
        work.spend(100)
    a_few_alone()
    assert works.admission.rate == pytest.approx(1000, rel=0.1)
