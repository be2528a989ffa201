"""How one version of a model takes over from another: orders that are under way end where they began."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ladd_ray.inference.facts import ModelFacts
from ladd_ray.registry import Version
from serve import succession
from serve.succession import Running, Succession

FACTS = ModelFacts("f" * 16, False, 64, 16, 256, 4, 4, None)
FIRST, SECOND, THIRD = (Version("m", str(number), f"file:///{number}", number) for number in (1, 2, 3))


class Source:
    """A registry that says what it is told."""

    moves = True

    def __init__(self) -> None:
        self.now: Version | Exception = FIRST
        self.broken: Exception | None = None
        self.fetched: list[Version] = []

    def find(self) -> Version:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    find_or_remember = find

    def path_of(self, version: Version) -> str:
        self.fetched.append(version)
        if self.broken:
            raise self.broken
        return version.source


class Studio:
    def __init__(self, path: str) -> None:
        self.path, self.closed = path, False

    def close(self) -> None:
        self.closed = True


async def open_(path: str | None) -> Running:
    if path == SECOND.source:
        raise MemoryError("no room")
    return Running(Studio(str(path)), FACTS)  # type: ignore[arg-type]


async def begun() -> tuple[Source, Any]:
    source = Source()
    models = Succession(source, open_)  # type: ignore[arg-type]
    await models.begin()
    return source, models


def test_a_new_version_takes_over_and_the_old_one_ends_its_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "_DRAIN_S", 0.01)

    async def roll() -> None:
        source, models = await begun()
        assert models.current.facts.version == "models:/m/1"
        first = models.current.studio
        with models.current.order() as drawing:
            source.now = THIRD
            await models.look()
            assert drawing is first
            assert models.current.studio.path == THIRD.source
            assert models.current.facts.version == "models:/m/3"
            await asyncio.sleep(0.1)
            assert not first.closed
        while not first.closed:
            await asyncio.sleep(0.01)
        assert not models.current.studio.closed

    asyncio.run(asyncio.wait_for(roll(), 10))


def test_nothing_happens_as_long_as_nothing_moves() -> None:
    async def look_twice() -> None:
        source, models = await begun()
        first = models.current
        await models.look()
        await models.look()
        assert models.current is first
        assert source.fetched == [FIRST]

    asyncio.run(look_twice())


@pytest.mark.parametrize("problem", [ConnectionError("gone"), ValueError("unknown"), OSError("disk full")])
def test_a_registry_that_fails_changes_nothing(problem: Exception) -> None:
    async def look() -> None:
        source, models = await begun()
        first = models.current
        source.now = problem
        await models.look()
        assert models.current is first
        source.now = THIRD
        await models.look()
        assert models.current.facts.version == "models:/m/3"

    asyncio.run(look())


def test_a_version_that_cannot_be_loaded_is_tried_once() -> None:
    async def look() -> None:
        source, models = await begun()
        first = models.current
        source.now = SECOND
        await models.look()
        await models.look()
        assert models.current is first
        assert source.fetched == [FIRST, SECOND]
        source.now = FIRST
        await models.look()
        assert models.current is first
        source.now = THIRD
        await models.look()
        assert models.current is not first

    asyncio.run(look())


@pytest.mark.parametrize(
    ("problem", "tries"), [(ConnectionError("gone"), 2), (OSError("disk full"), 2), (ValueError("damaged"), 1)]
)
def test_a_version_that_cannot_be_fetched_is_tried_again_unless_it_is_to_blame(problem: Exception, tries: int) -> None:
    async def look() -> None:
        source, models = await begun()
        source.now, source.broken = THIRD, problem
        await models.look()
        assert models.current.facts.version == "models:/m/1"
        source.broken = None
        await models.look()
        assert source.fetched == [FIRST, *[THIRD] * tries]
        assert models.current.facts.version == ("models:/m/3" if tries == 2 else "models:/m/1")

    asyncio.run(look())


def test_following_looks_again_and_again() -> None:
    async def follow() -> None:
        source, models = await begun()
        following = asyncio.create_task(models.follow(every_s=0.01))
        source.now = THIRD
        while models.current.facts.version != "models:/m/3":
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(follow(), 10))


@pytest.mark.parametrize(("moves", "every_s"), [(False, 1.0), (True, 0.0)])
def test_who_cannot_move_is_not_followed(moves: bool, every_s: float) -> None:
    async def follow() -> None:
        source, models = await begun()
        source.moves = moves
        await models.follow(every_s=every_s)

    asyncio.run(asyncio.wait_for(follow(), 1))
