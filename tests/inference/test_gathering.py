"""What comes while a thread works is worked on together afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from ladd_ray.inference.gathering import Gathering

WAIT_S = 30


class Workshop:
    """Doubles numbers once it may, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = threading.Event()
        self.began = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.began.set()
        assert self.may.wait(WAIT_S)
        if 13 in numbers:
            raise ArithmeticError("thirteen")
        return [ValueError("negative") if number < 0 else 2 * number for number in numbers]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def gathering(workshop: Workshop) -> Iterator[Gathering[int, int]]:
    made: Gathering[int, int] = Gathering(workshop, name="test", most=3)
    yield made
    workshop.may.set()
    made.close()


def busy(gathering: Gathering[int, int], workshop: Workshop) -> None:
    """Give it something to do."""
    gathering.submit(0)
    assert workshop.began.wait(WAIT_S)


def test_what_comes_meanwhile_is_done_together_as_much_as_fits(
    gathering: Gathering[int, int], workshop: Workshop
) -> None:
    busy(gathering, workshop)
    futures = [gathering.submit(number) for number in range(1, 6)]
    workshop.may.set()
    assert [future.result(WAIT_S) for future in futures] == [2, 4, 6, 8, 10]
    assert workshop.batches == [[0], [1, 2, 3], [4, 5]]


def test_only_one_kind_at_a_time_and_the_oldest_first(gathering: Gathering[int, int], workshop: Workshop) -> None:
    busy(gathering, workshop)
    futures = [gathering.submit(number, kind=number % 2) for number in (1, 2, 3, 4)]
    workshop.may.set()
    assert [future.result(WAIT_S) for future in futures] == [2, 4, 6, 8]
    assert workshop.batches == [[0], [1, 3], [2, 4]]


def test_what_is_cancelled_in_time_is_not_done(gathering: Gathering[int, int], workshop: Workshop) -> None:
    busy(gathering, workshop)
    gone, kept = gathering.submit(1), gathering.submit(2)
    assert gone.cancel()
    workshop.may.set()
    assert kept.result(WAIT_S) == 4
    assert workshop.batches == [[0], [2]]


def test_one_failure_is_nobody_elses(gathering: Gathering[int, int], workshop: Workshop) -> None:
    workshop.may.set()
    busy(gathering, workshop)
    failing, fine = gathering.submit(-1), gathering.submit(1)
    with pytest.raises(ValueError, match="negative"):
        failing.result(WAIT_S)
    assert fine.result(WAIT_S) == 2


def test_work_that_raises_fails_its_batch_and_not_the_next(gathering: Gathering[int, int], workshop: Workshop) -> None:
    workshop.may.set()
    with pytest.raises(ArithmeticError):
        gathering.submit(13).result(WAIT_S)
    assert gathering.submit(1).result(WAIT_S) == 2


def test_closing_cancels_what_waits_and_takes_nothing_more(workshop: Workshop) -> None:
    gathering: Gathering[int, int] = Gathering(workshop, name="test")
    busy(gathering, workshop)
    waiting = gathering.submit(1)
    closing = threading.Thread(target=gathering.close)
    closing.start()
    closing.join(0.1)
    with pytest.raises(RuntimeError, match="closed"):
        gathering.submit(2)
    workshop.may.set()
    closing.join(WAIT_S)
    assert waiting.cancelled()
