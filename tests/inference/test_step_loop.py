"""The loop without a network: joining between steps, leaving, deadlines, and failures that stay where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from ladd_ray.inference.scheduling import BatchLimits
from ladd_ray.inference.step_loop import StepLoop, Turn

LIMITS = BatchLimits(max_rows=4, max_pixels=1000)


@dataclass(eq=False)
class Ear:
    """Hears everything, and says when it is over."""

    left: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def stepped(self, turn: Turn, *, steps_left: int) -> None:
        self.turns.append(turn)
        self.left.append(steps_left)
        if steps_left == 0:
            self.over.set()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.over.set()

    def wait(self) -> None:
        assert self.over.wait(10)


class Deaf(Ear):
    def stepped(self, turn: Turn, *, steps_left: int) -> None:
        raise RuntimeError("the event loop is closed")


class Gate:
    """Lets one step through at a time, and remembers who took it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def advance(self, items: Sequence[str]) -> None:
        self.batches.append(list(items))
        self.entered.release()
        assert self.go.acquire(timeout=10)
        if "poison" in items:
            raise ArithmeticError("not a number")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def loop(gate: Gate) -> Iterator[StepLoop[str]]:
    made = StepLoop(gate.advance, limits=LIMITS)
    yield made
    gate.go.release(100)
    made.close()


@pytest.fixture
def join(loop: StepLoop[str]) -> Callable[..., Ear]:
    def joined(name: str, *, steps: int, shape: str = "a", deadline: float = float("inf")) -> Ear:
        ear = Ear()
        loop.join(name, ear, shape=shape, pixels=100, steps=steps, deadline=deadline)
        return ear

    return joined


def test_a_newcomer_joins_at_the_next_step(gate: Gate, join: Callable[..., Ear]) -> None:
    first = join("first", steps=3)
    assert gate.entered.acquire(timeout=10)
    second = join("second", steps=1)
    gate.go.release(10)
    first.wait()
    second.wait()
    assert gate.batches == [["first"], ["second", "first"], ["first"]]
    assert (first.left, second.left) == ([2, 1, 0], [0])
    assert [turn.rows for turn in first.turns] == [1, 2, 1]
    assert first.turns[1].pixels == 200


def test_shapes_do_not_mix(gate: Gate, join: Callable[..., Ear]) -> None:
    ears = [join("a", steps=2), join("b", steps=2, shape="b")]
    gate.go.release(10)
    for ear in ears:
        ear.wait()
    assert sorted(gate.batches) == [["a"], ["a"], ["b"], ["b"]]


def test_whoever_leaves_takes_no_further_step(gate: Gate, loop: StepLoop[str], join: Callable[..., Ear]) -> None:
    leaver = Ear()
    entry = loop.join("leaver", leaver, shape="a", pixels=100, steps=5)
    assert gate.entered.acquire(timeout=10)
    stayer = join("stayer", steps=2)
    loop.leave(entry)
    gate.go.release(10)
    stayer.wait()
    assert gate.batches == [["leaver"], ["stayer"], ["stayer"]]


def test_past_the_deadline_nothing_is_done(gate: Gate, join: Callable[..., Ear]) -> None:
    late, punctual = join("late", steps=1, deadline=0.0), join("punctual", steps=1)
    gate.go.release(10)
    late.wait()
    punctual.wait()
    assert [type(error) for error in late.errors] == [TimeoutError]
    assert gate.batches == [["punctual"]]


def test_a_failing_step_hurts_only_its_batch(gate: Gate, loop: StepLoop[str], join: Callable[..., Ear]) -> None:
    poison = join("poison", steps=2)
    assert gate.entered.acquire(timeout=10)
    other = join("other", steps=1)
    gate.go.release(1)
    poison.wait()
    assert [str(error) for error in poison.errors] == ["not a number"]
    assert loop.failures == 1
    gate.go.release(1)
    other.wait()
    assert other.errors == []
    assert loop.failures == 0
    assert gate.batches == [["poison"], ["other"]]


def test_a_listener_that_raises_does_not_end_the_loop(
    gate: Gate, loop: StepLoop[str], join: Callable[..., Ear]
) -> None:
    loop.join("deaf", Deaf(), shape="a", pixels=100, steps=1)
    gate.go.release(10)
    join("other", steps=1).wait()
    assert loop.alive


def test_a_closed_loop_takes_nobody(gate: Gate) -> None:
    loop = StepLoop(gate.advance, limits=LIMITS)
    loop.close()
    assert not loop.alive
    with pytest.raises(RuntimeError, match="closed"):
        loop.join("late", Ear(), shape="a", pixels=100, steps=1)
