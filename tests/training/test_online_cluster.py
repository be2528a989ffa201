"""Teachers that draw while training, on a real Ray cluster: killed ones, and a whole job."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
import torch
from ray.exceptions import RayActorError

from ladd_ray.config import Config, override
from ladd_ray.data.rows import Wanted
from ladd_ray.training import launch
from ladd_ray.training.online import online_feed, teachers_of
from tests.training.runs import tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def online(tiny_folder: Path, tmp_path: Path) -> Config:
    """One worker and one teacher: all that two cores hold."""
    return tiny_config(
        tiny_folder,
        tmp_path / "runs",
        data__feed="online",
        data__num_inference_steps=1,
        data__online_buffer=3,
        run__num_workers=1,
        run__steps=6,
    )


def teachers() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "OnlineTeacher" in " ".join(process.info["cmdline"] or [])
    ]


def test_a_killed_teacher_comes_back_and_owes_the_same_rows(cluster: None, online: Config) -> None:
    here = online_feed(override(online, {"run.num_workers": 0}), wanted=Wanted())
    with teachers_of(online):
        there = online_feed(online, wanted=Wanted())
        for step in range(4):
            if step == 2:
                (victim,) = teachers()
                os.kill(victim.pid, signal.SIGKILL)
            ours, theirs = (feed.batch(step, 0, rank=0, world_size=1, device="cpu") for feed in (there, here))
            assert ours.sample_ids == theirs.sample_ids
            torch.testing.assert_close(ours.latents, theirs.latents, rtol=2e-3, atol=3e-3)


def test_a_teacher_that_dies_too_often_is_not_waited_for(cluster: None, online: Config) -> None:
    with teachers_of(override(online, {"run.max_failures": 0})):
        feed = online_feed(online, wanted=Wanted())
        feed.batch(0, 0, rank=0, world_size=1, device="cpu")
        (victim,) = teachers()
        os.kill(victim.pid, signal.SIGKILL)
        rest = (feed.batch(step, 0, rank=0, world_size=1, device="cpu") for step in range(1, 6))
        with pytest.raises(RayActorError):
            list(rest)


def test_a_run_trains_on_rows_drawn_meanwhile(cluster: None, online: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "evaluate", lambda plan, folder: None)
    folder = launch.run(online)
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "student/loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 7))
    assert all(line["data/stall_seconds"] >= 0 for line in steps)
    assert folder.export.is_dir()
    assert not (Path(online.run.directory) / "latents").exists()


def test_a_cluster_without_room_for_the_teachers_is_refused(cluster: None, online: Config) -> None:
    with pytest.raises(ValueError, match=r"cannot hold 4 workers: needs 4 CPU, has 2; lower .* data\.online_teachers"):
        launch.run(override(online, {"data.online_teachers": 3, "run.cluster_timeout_s": 1}))
