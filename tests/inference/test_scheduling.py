"""Who steps with whom: full batches, short orders first, and nobody waits without end."""

from __future__ import annotations

import random

import pytest

from ladd_ray.inference.scheduling import BatchLimits, Entry, Scheduler

LIMITS = BatchLimits(max_rows=4, max_pixels=400, patience_s=1.0)


def entry(
    name: str, *, shape: str = "a", pixels: int = 100, steps: int = 4, since: float = 0.0, **more: float
) -> Entry[str]:
    return Entry(name, shape, pixels, steps, since, **more)


def scheduler(*entries: Entry[str], limits: BatchLimits = LIMITS) -> Scheduler[str]:
    made: Scheduler[str] = Scheduler(limits)
    for one in entries:
        made.add(one)
    return made


def names(batch: list[Entry[str]]) -> list[str]:
    return [one.item for one in batch]


def test_nobody_there_means_no_batch() -> None:
    assert scheduler().next_batch(0.0) == []


def test_one_shape_shares_a_batch_whatever_the_steps() -> None:
    waiting = scheduler(entry("long", steps=28), entry("short", steps=1), entry("other", shape="b"))
    assert names(waiting.next_batch(0.1)) == ["short", "long"]


def test_rows_and_pixels_cap_a_batch() -> None:
    many = [entry(str(index)) for index in range(6)]
    assert len(scheduler(*many).next_batch(0.0)) == 4
    large = [entry(str(index), pixels=150) for index in range(6)]
    assert len(scheduler(*large).next_batch(0.0)) == 2
    assert len(scheduler(entry("giant", pixels=10_000), entry("second", pixels=10_000)).next_batch(0.0)) == 1


def test_the_shape_with_most_to_do_goes_first() -> None:
    waiting = scheduler(entry("lonely", shape="b"), entry("first", since=0.1), entry("second", since=0.1))
    assert names(waiting.next_batch(0.2)) == ["first", "second"]


def test_equal_shapes_take_turns_by_age() -> None:
    waiting = scheduler(entry("young", shape="b", since=0.2), entry("old", since=0.1))
    assert names(waiting.next_batch(0.3)) == ["old"]


def test_whoever_lost_patience_goes_before_the_popular_shape_and_takes_its_own_along() -> None:
    popular = [entry(str(index), since=2.0) for index in range(4)]
    waiting = scheduler(*popular, entry("late", shape="b", since=0.9), entry("friend", shape="b", since=2.0, steps=1))
    assert names(waiting.next_batch(2.0)) == ["late", "friend"]


def test_of_two_impatient_shapes_the_older_goes_first() -> None:
    waiting = scheduler(entry("a1", since=1.0), entry("a2", since=1.0), entry("b", shape="b", since=0.0))
    assert names(waiting.next_batch(3.0)) == ["b"]


def test_an_impatient_long_order_goes_before_fresh_short_ones() -> None:
    short = [entry(f"short{index}", steps=1, since=2.0) for index in range(4)]
    waiting = scheduler(entry("long", steps=28, since=0.5), *short)
    assert names(waiting.next_batch(2.0)) == ["long", "short0", "short1", "short2"]


def test_removed_and_expired_entries_step_no_more() -> None:
    gone, late, there = entry("gone"), entry("late", deadline=5.0), entry("there", deadline=6.0)
    waiting = scheduler(gone, late, there)
    waiting.remove(gone)
    waiting.remove(gone)
    assert waiting.expire(4.9) == []
    assert names(waiting.expire(5.0)) == ["late"]
    assert names(waiting.next_batch(5.0)) == ["there"]
    assert len(waiting) == 1


@pytest.mark.parametrize("wrong", [{"max_rows": 0}, {"max_pixels": 0}, {"patience_s": -1.0}])
def test_limits_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        BatchLimits(**wrong)  # type: ignore[arg-type]


def test_under_a_flood_of_another_shape_everybody_steps_within_bounds() -> None:
    """A popular shape is never out of fresh work; rare shapes must still step every patience_s or so."""
    choose = random.Random(0)
    rare = [entry(f"rare{index}", shape=f"rare{index}", steps=1000) for index in range(3)]
    waiting = scheduler(*rare, *(entry(f"first{index}", steps=2) for index in range(8)))
    stepped = {one.item: 0.0 for one in rare}
    longest, now = 0.0, 0.0
    for number in range(600):
        batch = waiting.next_batch(now)
        assert len({one.shape for one in batch}) == 1
        now += 0.1
        for one in batch:
            one.steps_left, one.waiting_since = one.steps_left - 1, now
            if one.item in stepped:
                longest, stepped[one.item] = max(longest, now - stepped[one.item]), now
            if one.steps_left == 0:
                waiting.remove(one)
                waiting.add(entry(f"new{number}{one.item}", steps=choose.randint(1, 4), since=now))
    assert longest <= LIMITS.patience_s + 0.1 * (len(rare) + 3)
