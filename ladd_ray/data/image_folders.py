"""A folder of images: texts in files of the same name, or all in metadata.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladd_ray.data.items import Item, Record, Shard, items_of
from ladd_ray.data_sections import TaskDataConfig

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
METADATA_NAME = "metadata.jsonl"
ROWS_PER_SHARD = 128


@dataclass(frozen=True)
class FolderShard:
    """Some images of a folder."""

    root: Path
    entries: tuple[Mapping[str, str], ...]
    """Lines of metadata.jsonl, or a file name alone, whose text lies beside it."""

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        """Reads the pictures now."""
        for entry in self.entries:
            yield from items_of(self._record(entry, config), config)

    def _record(self, entry: Mapping[str, str], config: TaskDataConfig) -> Record:
        image = self.root / entry["file_name"]
        text = entry.get(config.prompt_column)
        return Record(
            key=entry["file_name"],
            prompt=image.with_suffix(".txt").read_text().strip() if text is None else text,
            image=image.read_bytes(),
            source=self._bytes(entry.get(config.source_column)),
            mask=self._bytes(entry.get(config.mask_column)),
        )

    def _bytes(self, name: str | None) -> bytes:
        return (self.root / name).read_bytes() if name else b""


def folder_shards(root: Path, config: TaskDataConfig) -> list[Shard]:
    """All images that have a text.

    Raises:
        ValueError: there is none, or metadata.jsonl lacks a key or names a file that is not there.
    """
    metadata = root / METADATA_NAME
    entries = _described(metadata, config) if metadata.is_file() else _with_text_beside(root)
    return [
        FolderShard(root, tuple(entries[start : start + ROWS_PER_SHARD]))
        for start in range(0, len(entries), ROWS_PER_SHARD)
    ]


def _described(metadata: Path, config: TaskDataConfig) -> list[Mapping[str, str]]:
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(metadata.read_text().splitlines(), start=1):
        try:
            entries.append(entry := json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{metadata}, line {number} is no JSON: {error}") from error
        missing = [key for key in ("file_name", config.prompt_column) if not isinstance(entry.get(key), str)]
        if missing:
            raise ValueError(
                f"{metadata}, line {number} has no text under {missing}: add it, or set data.prompt_column"
            )
        files = [entry.get(key) for key in ("file_name", config.source_column, config.mask_column)]
        absent = [name for name in files if name and not (metadata.parent / name).is_file()]
        if absent:
            raise ValueError(f"{metadata}, line {number} names {absent[0]}, which is not in {metadata.parent}")
    if not entries:
        raise ValueError(f"{metadata} is empty: write one line of JSON for each image")
    return list(entries)


def _with_text_beside(root: Path) -> list[Mapping[str, str]]:
    images = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    with_text = [path for path in images if path.with_suffix(".txt").is_file()]
    if not with_text:
        raise ValueError(
            f"{root} has {len(images)} images and no text for any: put a.txt beside a.png, or write {METADATA_NAME} "
            'with lines like {"file_name": "a.png", "text": "a cat"}'
        )
    return [{"file_name": path.relative_to(root).as_posix()} for path in with_text]
