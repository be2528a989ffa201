"""From pictures to stored rows, by the tiny model in this process."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from ladd_ray.algorithm.tasks import TASKS, task_of
from ladd_ray.data.edits import edit
from ladd_ray.data.items import Item, chance, pick_task, row_id
from ladd_ray.data.masks import inpainting_mask
from ladd_ray.data.rows import Wanted
from ladd_ray.data.stickers import render, scene
from ladd_ray.data.task_set import open_tasks
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.finetuning.encoding import PictureMaker, ensure_encoded
from ladd_ray.training.finetuning.preflight import prepare
from tests.training.finetuning.runs import mask_png, png, tiny_config


def pixels(picture: object) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1  # type: ignore[attr-defined]


def rows_of(folder: Path) -> dict[int, dict[str, object]]:
    tables = [parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def test_every_row_of_the_world_is_there_once_on_its_side_of_the_split(encoded: Path) -> None:
    rows = rows_of(encoded)
    assert len(rows) == 24 + 6
    assert sum(row["heldout"] for row in rows.values()) == 6
    assert {row["task"] for row in rows.values()} == set(TASKS)
    assert {(row["height"], row["width"]) for row in rows.values()} == {(8, 8), (8, 12)}


def test_rows_hold_what_the_model_makes_of_the_world(encoded: Path, tiny_folder: Path) -> None:
    config = tiny_config(tiny_folder, encoded.parent)
    autoencoder = Autoencoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    encoder = PromptEncoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    rows, seen = rows_of(encoded), set()
    for index in range(config.data.num_rows):
        name = f"train/{index}"
        task = pick_task(config.data.tasks, chance(name, "task", seed=0))
        height, width = config.data.buckets[int(chance(name, "bucket", seed=0) * 2)]
        row = rows[row_id(name, seed=0)]
        assert row["task"] == task
        drawn = scene(0, index, height=height, width=width)
        image, text, given, mask = render(drawn), drawn.caption, None, None
        if task == "edit":
            change = edit(0, index, height=height, width=width)
            image, text, given = render(change.target), change.instruction, pixels(render(change.source))
        if task == "inpaint":
            hole = torch.from_numpy(inpainting_mask(0, index, drawn))
            given, mask = pixels(image).masked_fill(hole, 0.0), hole[::8, ::8]
        _same(row["latents"], autoencoder.encode(pixels(image)))
        _same(row["prompt_embeds"], encoder.encode([text]).prompt_embeds)
        _same(row["pooled_prompt_embeds"], encoder.encode([text]).pooled_prompt_embeds)
        assert (row["source"] == b"") == (given is None)
        if given is not None:
            _same(row["source"], autoencoder.encode(given))
        assert row["mask"] == (b"" if mask is None else mask.numpy().tobytes())
        seen.add(task)
    assert seen == set(TASKS)


def _same(stored: object, expected: torch.Tensor) -> None:
    found = torch.frombuffer(bytearray(stored), dtype=torch.float16).float()  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected.detach().flatten(), rtol=2e-3, atol=6e-3)


def test_what_is_read_gives_batches_with_task_channels(encoded: Path) -> None:
    stored = open_tasks(encoded, memory_gb=1, wanted=Wanted(three_tasks=True))
    assert len(stored) == 24
    assert len(open_tasks(encoded, memory_gb=1, wanted=Wanted(), heldout=True, most=4)) == 4
    assert stored.empty_prompt.prompt_embeds.shape[0] == 1
    rows = rows_of(encoded)
    for bucket in stored.buckets:
        ids = sorted(
            number
            for number, row in rows.items()
            if not row["heldout"] and (row["height"], row["width"]) == bucket.size[1:]
        )
        batch = bucket.batch(torch.arange(len(bucket)), sample_ids=tuple(range(len(bucket))), device="cpu")
        assert [TASKS[task] for task in task_of(batch.prompt)] == [rows[number]["task"] for number in ids]
        assert batch.prompt.task_channels is not None
        assert batch.prompt.task_channels.shape == (len(ids), 17, *bucket.size[1:])


@pytest.mark.parametrize("three_tasks", [False, True])
def test_rows_read_one_by_one_are_those_held_in_memory(encoded: Path, three_tasks: bool) -> None:
    wanted = Wanted(three_tasks=three_tasks)
    held, read = (open_tasks(encoded, memory_gb=size, wanted=wanted) for size in (1.0, 0.0))
    assert [bucket.in_memory for bucket in (*held.buckets, *read.buckets)] == [True, True, False, False]
    for ours, theirs in zip(held.buckets, read.buckets, strict=True):
        rows = torch.randperm(len(ours))[:5]
        pairs = [bucket.batch(rows, sample_ids=tuple(range(5)), device="cpu") for bucket in (ours, theirs)]
        assert torch.equal(pairs[0].latents, pairs[1].latents)
        for held_part, read_part in zip(pairs[0].prompt, pairs[1].prompt, strict=True):
            assert (held_part is None and read_part is None) or torch.equal(held_part, read_part)
        assert (pairs[0].prompt.task_channels is None) != three_tasks


def test_encoding_does_not_depend_on_batches_and_is_done_once(encoded: Path, tiny_folder: Path, tmp_path: Path) -> None:
    config = tiny_config(tiny_folder, tmp_path, data__encoding_batch_size=7)
    again = ensure_encoded(prepare(config))
    assert again.name == encoded.name
    ours, theirs = rows_of(again), rows_of(encoded)
    assert ours.keys() == theirs.keys()
    for number, row in ours.items():
        assert (row["task"], row["mask"]) == (theirs[number]["task"], theirs[number]["mask"])
        found = torch.frombuffer(bytearray(theirs[number]["latents"]), dtype=torch.float16)  # type: ignore[arg-type]
        _same(row["latents"], found.float())
    before = {path: path.stat().st_mtime_ns for path in again.iterdir()}
    ensure_encoded(prepare(config))
    assert {path: path.stat().st_mtime_ns for path in again.iterdir()} == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures of two shapes, three of them edits, one with a mask, one broken."""
    root = tmp_path / "pictures"
    root.mkdir()
    lines = []
    for number in range(12):
        size = (60, 64) if number % 2 else (100, 180)
        (root / f"{number}.png").write_bytes(png(*size, seed=number))
        lines.append(f'{{"file_name": "{number}.png", "text": "a red apple"')
        if number in (3, 4, 5):
            (root / f"before_{number}.png").write_bytes(png(*size, seed=100 + number))
            lines[-1] += f', "source": "before_{number}.png"'
        if number == 7:
            (root / "mask_7.png").write_bytes(mask_png(*size))
            lines[-1] += ', "mask": "mask_7.png"'
        lines[-1] += "}"
    (root / "0.png").write_bytes(b"broken")
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def test_pictures_of_a_folder_become_rows(
    config: FinetuneConfig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = prepare(
        tiny_config(Path(config.model.path), Path(config.run.directory), data__source=str(folder), data__views=2)
    )
    rows = list(rows_of(ensure_encoded(plan)).values())
    assert len(rows) == 22
    assert any("is left out" in record.getMessage() for record in caplog.records)
    assert sum(row["task"] == "edit" for row in rows) == 6
    assert {(row["height"], row["width"]) for row in rows} == {(8, 8), (8, 12)}
    half = torch.zeros(8, 8, dtype=torch.bool)
    half[:, :4] = True
    assert [row["mask"] for row in rows].count(half.numpy().tobytes()) == 2
    assert any(row["task"] == "inpaint" for row in rows)
    assert all(bool(row["source"]) == (row["task"] != "generate") for row in rows)


def test_a_hole_is_mid_grey_before_encoding(config: FinetuneConfig) -> None:
    picture, mask = png(64, 64), mask_png(64, 64)
    item = Item(1, heldout=False, task="inpaint", prompt="a cat", image=picture, source=b"", mask=mask)
    (row,) = PictureMaker(config).rows([item])
    assert row.source is not None
    blanked = pixels(np.asarray(Image.open(io.BytesIO(picture))))
    blanked[..., :32] = 0
    autoencoder = Autoencoder.from_pretrained(config.model.path, precision="fp32", device="cpu")
    torch.testing.assert_close(row.source[None], autoencoder.encode(blanked), rtol=2e-3, atol=2e-3)
