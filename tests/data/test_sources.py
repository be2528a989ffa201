"""Files in three layouts become rows, and what cannot become rows is refused before anything starts."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from ladd_ray.data.items import Item, Record, items_of, pick_task
from ladd_ray.data.sources import list_shards, source_fingerprint
from ladd_ray.pretrain_config import TaskDataConfig, TaskShares
from tests.training.finetuning.runs import mask_png, png

PICTURE = png(40, 40)


def read(source: Path | str, **settings: object) -> list[Item]:
    config = TaskDataConfig(source=str(source), **settings)  # type: ignore[arg-type]
    return [item for shard in list_shards(config) for item in shard.items(config)]


def texts(items: list[Item]) -> list[str]:
    return sorted(item.prompt for item in items)


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_text_beside_each_image(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    for name in ("a.png", "inside/b.JPG", "lonely.png"):
        (tmp_path / name).write_bytes(PICTURE)
    (tmp_path / "a.txt").write_text("a cat\n")
    (tmp_path / "inside" / "b.txt").write_text("a dog")
    items = read(tmp_path)
    assert texts(items) == ["a cat", "a dog"]
    assert all(item.image == PICTURE for item in items)


def test_metadata_names_sources_and_masks(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PICTURE)
    (tmp_path / "mask.png").write_bytes(mask_png(40, 40))
    lines = [
        {"file_name": "a.png", "caption": "make it red", "source": "b.png"},
        {"file_name": "b.png", "caption": "a cat", "mask": "mask.png"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    edit, inpaint = sorted(read(tmp_path, prompt_column="caption"), key=lambda item: item.task)
    assert (edit.task, edit.prompt, edit.source, edit.mask) == ("edit", "make it red", PICTURE, b"")
    assert (inpaint.task, inpaint.mask, inpaint.source) == ("inpaint", mask_png(40, 40), b"")


def test_tar_files(tmp_path: Path) -> None:
    first = {"0.jpg": PICTURE, "0.txt": b"a cat", "1.png": PICTURE, "1.json": b'{"text": "a dog"}'}
    second = {"x/2.png": PICTURE, "x/2.source.png": PICTURE, "x/2.txt": b"add a hat", "x/3.png": PICTURE}
    write_tar(tmp_path / "00.tar", first)
    write_tar(tmp_path / "01.tar", second)
    items = read(tmp_path / "*.tar")
    assert texts(items) == ["a cat", "a dog", "add a hat"]
    assert [item.task for item in items if item.source] == ["edit"]


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_files(tmp_path: Path, struct: bool) -> None:
    picture = {"bytes": PICTURE, "path": None} if struct else PICTURE
    rows = [{"picture": picture, "caption": text, "before": None} for text in ("a cat", "a dog", None)]
    rows[1]["before"] = picture
    write_parquet(tmp_path / "a.parquet", rows)
    items = read(tmp_path / "*.parquet", image_column="picture", prompt_column="caption", source_column="before")
    assert texts(items) == ["a cat", "a dog"]
    assert [item.prompt for item in items if item.task == "edit"] == ["a dog"]


def test_views_of_a_picture_draw_their_own_task_on_one_side_of_the_split() -> None:
    config = TaskDataConfig(views=40, heldout_share=0.5)
    sides = set()
    for key in map(str, range(8)):
        items = list(items_of(Record(key, "a cat", PICTURE), config))
        assert len({item.id for item in items}) == 40
        assert {item.task for item in items} == {"generate", "inpaint"}
        assert len({item.heldout for item in items}) == 1
        sides.add(items[0].heldout)
    assert sides == {True, False}


def test_a_task_without_a_share_is_left_out() -> None:
    config = TaskDataConfig(tasks=TaskShares(generate=1, edit=0, inpaint=0))
    (plain,) = items_of(Record("a", "a cat", PICTURE), config)
    assert plain.task == "generate"
    assert not list(items_of(Record("a", "make it red", PICTURE, source=PICTURE), config))
    assert not list(items_of(Record("a", "a cat", PICTURE, mask=PICTURE), config))


def test_tasks_are_drawn_by_their_shares() -> None:
    shares = TaskShares(generate=2, edit=1, inpaint=1)
    assert [pick_task(shares, share) for share in (0, 0.49, 0.5, 0.74, 0.75, 0.99)] == [
        "generate", "generate", "edit", "edit", "inpaint", "inpaint",
    ]  # fmt: skip


def test_the_world_has_its_rows_and_a_share_of_held_out_ones() -> None:
    items = read("stickers", num_rows=40, heldout_share=0.1, buckets=((64, 64), (64, 96)))
    assert sum(not item.heldout for item in items) == 40
    assert sum(item.heldout for item in items) == 4
    assert len({item.id for item in items}) == 44
    assert {item.task for item in items} == {"generate", "edit", "inpaint"}
    assert all(bool(item.source) == (item.task == "edit") for item in items)
    assert all(bool(item.mask) == (item.task == "inpaint") for item in items)


def test_fingerprints_follow_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    config = TaskDataConfig(source=str(tmp_path))
    before = source_fingerprint(config)
    assert before == source_fingerprint(config)
    (tmp_path / "b.png").write_bytes(PICTURE)
    assert before != source_fingerprint(config)
    assert source_fingerprint(TaskDataConfig()) == "stickers"


def refused(source: Path | str, match: str, **settings: object) -> None:
    with pytest.raises(ValueError, match=match):
        read(source, **settings)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nothing at data.source")
    refused(tmp_path / "*.tar", "in quotes where it has a")
    (tmp_path / "a.csv").write_text("a")
    refused(tmp_path / "a.csv", r"must name \.tar files only")
    refused(tmp_path, "has 0 images and no text")
    (tmp_path / "a.png").write_bytes(PICTURE)
    refused(tmp_path, r"has 1 images and no text for any: put a\.txt beside a\.png")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is empty"),
        ('{"file_name": "a.png"}', r"line 1 has no text under \['text'\]: add it, or set data.prompt_column"),
        ('{"file_name": "b.png", "text": "a"}', r"names b\.png, which is not in"),
        ('{"file_name": "a.png", "text": "a", "source": "c.png"}', r"names c\.png, which is not in"),
        ("{", "line 1 is no JSON"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    (tmp_path / "metadata.jsonl").write_text(line)
    refused(tmp_path, message)


def test_parquet_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{"image": PICTURE, "caption": "a cat"}])
    refused(path, r"has no column 'text' but \['image', 'caption'\]: set data\.prompt_column")
    refused(path, "has no column 'jpg'", image_column="jpg", prompt_column="caption")
    refused(path, "holds string in 'caption', not pictures", image_column="caption", prompt_column="caption")
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    refused(tmp_path / "b.parquet", "cannot be read as parquet")
    empty = pa.table({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string())})
    parquet.write_table(empty, tmp_path / "c.parquet")
    refused(tmp_path / "c.parquet", "has no rows")


def test_tars_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    refused(write_tar(tmp_path / "a.tar", {"a.cls": b"3"}), r"begins with \['\.cls'\]: a sample is a\.jpg with a\.txt")
    refused(write_tar(tmp_path / "b.tar", {}), "begins with nothing")
    (tmp_path / "c.tar").write_bytes(b"no tar")
    refused(tmp_path / "c.tar", "cannot be read as a tar file")
