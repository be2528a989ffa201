"""Where a distillation gets its batches, with the tiny teacher: from disk, and from teachers that draw meanwhile."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from ladd_ray.config import Config, override
from ladd_ray.data.feeding import Feed
from ladd_ray.data.rows import Wanted
from ladd_ray.interfaces import LatentBatch
from ladd_ray.training import feeds
from ladd_ray.training.feeds import Pace, open_feed
from ladd_ray.training.online import online_feed
from ladd_ray.training.preflight import prepare
from ladd_ray.training.synthesis import ensure_latents
from tests.training.models import widened
from tests.training.runs import StoppedError, timeless, train

ONLINE = {"data.feed": "online", "data.num_inference_steps": 1}
NOWHERE = Path("/nowhere")
WANTED = Wanted()


@pytest.fixture(autouse=True)
def any_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher with random weights draws noise, which is refused elsewhere."""
    monkeypatch.setattr(feeds, "require_pictures", lambda latents, source: None)


def batch(feed: Feed, step: int, micro_step: int = 0, *, rank: int = 0, world_size: int = 1) -> LatentBatch:
    return feed.batch(step, micro_step, rank=rank, world_size=world_size, device="cpu")


def equal(ours: LatentBatch, theirs: LatentBatch) -> None:
    """Up to the rounding of stored numbers; noise and order are the same."""
    assert ours.sample_ids == theirs.sample_ids
    torch.testing.assert_close(ours.latents, theirs.latents, rtol=2e-3, atol=3e-3)
    for first, second in zip(ours.prompt, theirs.prompt, strict=True):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            torch.testing.assert_close(first, second, rtol=2e-3, atol=3e-3)


def test_prompts_encoded_on_the_fly_give_the_batches_of_stored_embeddings(config: Config) -> None:
    opened = []
    for stored in (True, False):
        settings = override(config, {"data.store_prompt_embeds": stored})
        opened.append(open_feed(settings, ensure_latents(prepare(settings))))
    for step in range(3):
        equal(*(batch(feed, step) for feed in opened))


def test_three_task_networks_get_tasks_and_knobs_get_strengths(
    config: Config, tiny_folder: Path, tmp_path: Path
) -> None:
    wide = widened(tiny_folder, tmp_path / "wide")
    tasks = {"data.tasks.generate": 0.4, "data.tasks.edit": 0.3, "data.tasks.inpaint": 0.3}
    knobs = {"student.guidance_knobs": True, "data.guidance_range": (2.0, 6.0), "data.num_inference_steps": 1}
    settings = override(config, {"teacher.path": str(wide), **tasks, **knobs, "run.global_batch_size": 24})
    found = batch(open_feed(settings, ensure_latents(prepare(settings))), 0)
    assert found.prompt.task_channels is not None
    assert found.prompt.task_channels.shape == (24, 17, 8, 8)
    assert found.prompt.strengths is not None
    assert found.real is not None
    assert ((found.prompt.strengths[:, 0] >= 2) & (found.prompt.strengths[:, 0] <= 6)).all()
    assert found.prompt.strengths[found.real, 0].std() > 0.1
    assert (found.prompt.strengths[:, 1] == 1.5).all()


def test_online_rows_follow_from_their_number_in_every_layout(config: Config) -> None:
    """As many workers and micro batches as one likes, and a stream that goes on beyond num_latents."""
    settings = override(config, {**ONLINE, "run.global_batch_size": 8, "data.num_latents": 8})
    whole = online_feed(settings, wanted=WANTED)
    halves = online_feed(override(settings, {"run.gradient_accumulation_steps": 2}), wanted=WANTED)
    for step in (0, 5):
        full = batch(whole, step)
        parts = [batch(halves, step, micro_step) for micro_step in range(2)]
        assert full.sample_ids == tuple(range(step * 8, step * 8 + 8))
        assert tuple(itertools.chain(*(part.sample_ids for part in parts))) == full.sample_ids
        torch.testing.assert_close(torch.cat([part.latents for part in parts]), full.latents, rtol=2e-3, atol=3e-3)


def test_online_rows_are_those_that_would_be_stored(config: Config) -> None:
    settings = override(config, {"data.num_inference_steps": 1, "data.num_latents": 8, "run.global_batch_size": 8})
    stored = batch(open_feed(settings, ensure_latents(prepare(settings))), 0)
    fresh = batch(open_feed(override(settings, ONLINE), NOWHERE), 0)
    distances = torch.cdist(stored.latents.flatten(1), fresh.latents.flatten(1))
    assert sorted(distances.argmin(dim=1).tolist()) == list(range(8))
    assert distances.min(dim=1).values.max() < 0.1 * distances.max()


def test_a_step_online_has_pictures_of_one_size(config: Config) -> None:
    settings = override(config, {**ONLINE, "data.buckets": ((64, 64), (64, 96)), "run.gradient_accumulation_steps": 2})
    feed = online_feed(settings, wanted=WANTED)
    sizes = [{tuple(batch(feed, step, micro).latents.shape[2:]) for micro in range(2)} for step in range(8)]
    assert all(len(found) == 1 for found in sizes)
    assert set.union(*sizes) == {(8, 8), (8, 12)}


def test_a_run_on_fresh_rows_resumes_exactly(config: Config) -> None:
    settings = override(config, {**ONLINE, "run.steps": 5, "run.checkpoint_every": 2})
    train(settings, NOWHERE)
    broken = override(settings, {"run.name": "broken"})
    with pytest.raises(StoppedError):
        train(broken, NOWHERE, stop_after=3)
    train(broken, NOWHERE)
    assert timeless(broken) == timeless(settings)


def test_pace_counts_images_and_waiting_since_the_last_reading() -> None:
    class Slow:
        stall_seconds = 0.0

    feed = Slow()
    pace = Pace(feed, 8, step=10)  # type: ignore[arg-type]
    feed.stall_seconds = 3.0
    first = pace.read(16)
    assert first["data/stall_seconds"] == 0.5
    assert first["throughput/images_per_second"] > 0
    assert pace.read(20)["data/stall_seconds"] == 0
