"""Scores while training: when they come, what they are, and that training does not notice them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.training.methods.ladd import build_ladd
from ladd_ray.training.milestones.reference import ensure_reference
from ladd_ray.training.milestones.scoring import SHEET, Milestones, scores_in
from ladd_ray.training.preflight import prepare
from ladd_ray.training.run_folder import RunFolder
from tests.training.runs import HistoryTracker, StoppedError, history, timeless, tiny_config, train

EVERY = 4


def scored_config(teacher: Path, directory: Path, **changes: object) -> Config:
    return tiny_config(teacher, directory, milestones__every=EVERY, milestones__num_images=10, **changes)


@pytest.fixture(scope="module")
def reference(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_reference(prepare(scored_config(tiny_folder, tmp_path_factory.mktemp("reference"))))


@pytest.fixture(scope="module")
def unbroken(
    tiny_folder: Path, latents: Path, reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Config, list[Mapping[str, float]]]:
    """A run with milestones, and what they announced."""
    config, heard = scored_config(tiny_folder, tmp_path_factory.mktemp("scored")), []
    train(config, latents, reference=reference, announce=heard.append)
    return config, heard


def test_scores_come_at_their_steps_and_at_the_last_one(unbroken: tuple[Config, list[Mapping[str, float]]]) -> None:
    config, heard = unbroken
    assert [scores["step"] for scores in heard] == [4, 8, 10]
    assert scores_in(RunFolder(config.run.path)) == heard
    assert all(0 <= scores["judge"] <= 1 and scores["kid"] == scores["kid"] for scores in heard)
    seconds = [scores["seconds"] for scores in heard]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert (config.run.path / SHEET).is_file()


def test_training_does_not_notice_them(
    unbroken: tuple[Config, list[Mapping[str, float]]], tiny_folder: Path, latents: Path, tmp_path: Path
) -> None:
    plain = tiny_config(tiny_folder, tmp_path)
    train(plain, latents)
    lines = [line for line in timeless(unbroken[0]) if "milestone/kid" not in line]
    assert lines == timeless(plain)


def test_a_resumed_run_scores_as_an_unbroken_one(
    unbroken: tuple[Config, list[Mapping[str, float]]],
    tiny_folder: Path,
    latents: Path,
    reference: Path,
    tmp_path: Path,
) -> None:
    config = scored_config(tiny_folder, tmp_path)
    with pytest.raises(StoppedError):
        train(config, latents, stop_after=7, reference=reference)
    train(config, latents, reference=reference)
    assert without_seconds(scores_in(RunFolder(config.run.path))) == without_seconds(unbroken[1])
    seconds = [scores["seconds"] for scores in scores_in(RunFolder(config.run.path))]
    assert seconds == sorted(seconds)


class OneOf(LocalEngine):
    """A rank of several, one after the other: what the ranks behind it gathered is given to it."""

    def __init__(self, rank: int, world_size: int, *, behind: list[list[Any]]) -> None:
        super().__init__("cpu", total_steps=1)
        self.rank, self.world_size, self._behind = rank, world_size, behind
        self.given: list[Any] = []

    def gather_objects(self, value: Any) -> list[Any]:
        call = len(self.given)
        self.given.append(value)
        return [value, *(given[call] for given in self._behind)]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_pictures_and_come_to_the_same_scores(
    tiny_folder: Path, reference: Path, tmp_path: Path, world_size: int
) -> None:
    config = scored_config(tiny_folder, tmp_path, evaluation__batch_size=2)
    alone = scores_of(config, OneOf(0, 1, behind=[]), reference=reference)
    behind: list[list[Any]] = []
    for rank in reversed(range(world_size)):
        engine = OneOf(rank, world_size, behind=behind)
        shared = scores_of(config, engine, reference=reference)
        behind.insert(0, engine.given)
    assert shared["judge"] == alone["judge"]
    assert shared["kid"] == pytest.approx(alone["kid"], rel=1e-4)
    assert {len(given[0].numbers) for given in behind} == {len(behind[0][0].numbers)}, "as many forwards on every rank"


def test_a_reference_of_other_settings_is_refused(tiny_folder: Path, reference: Path, tmp_path: Path) -> None:
    changes = {"milestones.reference": str(reference), "data.num_inference_steps": 3}
    with pytest.raises(ValueError, match=r"milestones\.reference"):
        ensure_reference(prepare(override(scored_config(tiny_folder, tmp_path), changes)))


def test_more_steps_than_levels_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number of trained noise levels"):
        scored_config(tiny_folder, tmp_path, milestones__num_inference_steps=5)


def scores_of(config: Config, engine: LocalEngine, *, reference: Path) -> dict[str, float]:
    """Of an untrained student."""
    folder = RunFolder(config.run.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    student = build_ladd(config, LocalEngine("cpu", total_steps=1)).student
    milestones = Milestones(config, engine, reference=reference, folder=folder)
    milestones.reach(student, HistoryTracker(history(config)), step=1)
    found = scores_in(folder)
    return found[-1] if found else {}


def without_seconds(scores: list[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in one.items() if name != "seconds"} for one in scores]


def test_a_reference_is_drawn_once(tiny_folder: Path, reference: Path, tmp_path: Path) -> None:
    config = override(scored_config(tiny_folder, tmp_path), {"milestones.reference": str(reference)})
    assert ensure_reference(prepare(config)) == reference
