"""Stored rows as training sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ladd_ray.algorithm.strengths import IdleKnobs
from ladd_ray.data.rows import Rows, Wanted
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.data.task_set import TaskSet, open_tasks
from ladd_ray.interfaces import Condition, LatentBatch
from tests.data.stored import CHANNELS, EMBEDDING, POOLED, TOKENS, row, write_set

HOLE = torch.zeros(4, 4, dtype=torch.bool)
HOLE[:, 2:] = True
MEMORY = [1.0, 0.0]
KNOBS = IdleKnobs(text=(8.0, 9.0), image=(8.0, 9.0), seed=0)


def mixed() -> list[TaskRow]:
    """A row of every task, of two sizes."""
    return [
        row(3, text_guidance=2.5),
        row(1, task="edit", source=torch.full((CHANNELS, 4, 4), 7.0), text_guidance=3.0, image_guidance=1.5),
        row(2, task="inpaint", source=torch.full((CHANNELS, 4, 4), 8.0), mask=HOLE, real=True),
        row(0, size=(4, 6)),
    ]


def whole(stored: TaskSet, bucket: int = 0) -> LatentBatch:
    count = len(stored.buckets[bucket])
    return stored.buckets[bucket].batch(torch.arange(count), sample_ids=tuple(range(count)), device="cpu")


@pytest.mark.parametrize("memory_gb", MEMORY)
def test_rows_come_by_size_in_the_order_of_their_ids(tmp_path: Path, memory_gb: float) -> None:
    rows = mixed()
    stored = open_tasks(write_set(tmp_path, rows[:2], rows[2:]), memory_gb=memory_gb, wanted=Wanted())
    assert [bucket.size for bucket in stored.buckets] == [(CHANNELS, 4, 4), (CHANNELS, 4, 6)]
    batch = whole(stored)
    assert batch.latents[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert batch.prompt.prompt_embeds.shape == (3, TOKENS, EMBEDDING)
    assert batch.prompt.pooled_prompt_embeds[:, 0].tolist() == [1, 2, 3]
    assert (batch.prompt.task_channels, batch.prompt.strengths) == (None, None)
    assert {batch.latents.dtype, batch.prompt.prompt_embeds.dtype} == {torch.float32}
    assert len(stored) == 4


@pytest.mark.parametrize("memory_gb", MEMORY)
def test_batches_say_which_rows_are_real_pictures(tmp_path: Path, memory_gb: float) -> None:
    stored = open_tasks(write_set(tmp_path, mixed()), memory_gb=memory_gb, wanted=Wanted())
    batch = whole(stored)
    assert batch.real is not None
    assert batch.real.tolist() == [False, True, False]
    assert whole(stored, bucket=1).real is None


@pytest.mark.parametrize("memory_gb", MEMORY)
def test_networks_get_the_tasks_and_the_strengths_they_read(tmp_path: Path, memory_gb: float) -> None:
    wanted = Wanted(three_tasks=True, knobs=KNOBS)
    prompt = whole(open_tasks(write_set(tmp_path, mixed()), memory_gb=memory_gb, wanted=wanted)).prompt
    assert prompt.task_channels is not None
    assert prompt.strengths is not None
    assert prompt.task_channels[:, 1, 0, 0].tolist() == [7, 8, 0]
    assert torch.equal(prompt.task_channels[:, 0], torch.stack([torch.ones(4, 4), HOLE.float(), torch.ones(4, 4)]))
    # The second row is a real picture, and the third has no source: what their idle knobs say is drawn.
    assert prompt.strengths[0].tolist() == [3, 1.5]
    assert (prompt.strengths[1] > 7).all() and prompt.strengths[2, 1] > 7
    assert prompt.strengths[2, 0] == 2.5


@pytest.mark.parametrize("memory_gb", MEMORY)
def test_prompts_without_stored_embeddings_are_encoded_when_they_come(tmp_path: Path, memory_gb: float) -> None:
    asked: list[Sequence[str]] = []

    def encode(prompts: Sequence[str]) -> Condition:
        asked.append(prompts)
        numbers = torch.tensor([float(prompt.split()[1]) for prompt in prompts])
        return Condition(numbers.reshape(-1, 1, 1).expand(-1, TOKENS, EMBEDDING), numbers[:, None].expand(-1, POOLED))

    rows = [row(number, prompt_embeds=None, pooled_prompt_embeds=None) for number in range(3)]
    stored = open_tasks(write_set(tmp_path, rows), memory_gb=memory_gb, wanted=Wanted(encode=encode))
    batch = stored.buckets[0].batch(torch.tensor([2, 0]), sample_ids=(0, 1), device="cpu")
    assert asked == [("prompt 2", "prompt 0")]
    assert batch.prompt.pooled_prompt_embeds[:, 0].tolist() == [2, 0]


def test_fresh_rows_make_the_batch_that_stored_ones_make(tmp_path: Path) -> None:
    rows = sorted(mixed()[:3], key=lambda found: found.id)
    wanted = Wanted(three_tasks=True, knobs=KNOBS)
    stored = whole(open_tasks(write_set(tmp_path, rows), memory_gb=1, wanted=wanted))
    fresh = Rows.of(rows).batch((0, 1, 2), wanted)
    assert torch.equal(fresh.latents, stored.latents)
    assert fresh.real is not None
    assert stored.real is not None
    assert torch.equal(fresh.real, stored.real)
    for ours, theirs in zip(fresh.prompt, stored.prompt, strict=True):
        assert ours is not None
        assert torch.equal(ours, theirs)


def test_sides_of_the_split_and_the_first_rows(tmp_path: Path) -> None:
    rows = [row(number, heldout=number % 3 == 0) for number in range(9)]
    folder = write_set(tmp_path, rows)
    sides = [open_tasks(folder, memory_gb=1, wanted=Wanted(), heldout=side) for side in (False, True)]
    assert [whole(side).latents[:, 0, 0, 0].tolist() for side in sides] == [[1, 2, 4, 5, 7, 8], [0, 3, 6]]
    assert len(open_tasks(folder, memory_gb=1, wanted=Wanted(), most=2)) == 2


def test_a_set_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no held-out rows: raise data\.heldout_share"):
        open_tasks(write_set(tmp_path, [row(0)]), memory_gb=1, wanted=Wanted(), heldout=True)


def test_a_changed_file_is_refused_when_the_set_is_read_whole(tmp_path: Path) -> None:
    folder = write_set(tmp_path, [row(0)], [row(1)])
    file = folder / "rows-000000-0001.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"changed after it was made \(rows-000000-0001"):
        open_tasks(folder, memory_gb=1, wanted=Wanted())


@pytest.mark.parametrize("memory_gb", MEMORY)
def test_latents_that_are_not_finite_are_refused(tmp_path: Path, memory_gb: float) -> None:
    stored = open_tasks(
        write_set(tmp_path, [row(0, latents=torch.full((CHANNELS, 4, 4), torch.inf))]),
        memory_gb=memory_gb,
        wanted=Wanted(),
    )
    with pytest.raises(ValueError, match="not finite"):
        whole(stored)
