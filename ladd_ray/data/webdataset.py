"""WebDataset: tar files in which the members of one sample follow each other and share a name up to the first dot."""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from ladd_ray.data.image_folders import IMAGE_ENDINGS
from ladd_ray.data.items import Item, Record, Shard, items_of
from ladd_ray.data_sections import TaskDataConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TarShard:
    """One tar file: a.jpg with a.txt or a.json, and for edits a.source.jpg, for given holes a.mask.png."""

    path: Path

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        """Reads from front to back; a sample without picture or text is left out with a warning."""
        for key, members in self._samples():
            record = _record(f"{self.path.name}/{key}", members, config)
            if record is None:
                logger.warning("%s: %s has no picture or no text and is left out", self.path, key)
            else:
                yield from items_of(record, config)

    def _samples(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        with tarfile.open(self.path) as archive:
            files = (member for member in archive if member.isfile())
            for key, members in groupby(files, key=lambda member: _split(member.name)[0]):
                yield key, {_split(member.name)[1]: _content(archive, member) for member in members}


def tar_shards(files: Sequence[Path]) -> list[Shard]:
    """One shard for each file.

    Raises:
        ValueError: the first file is no tar, or holds no picture with a text.
    """
    shards = [TarShard(file) for file in files]
    try:
        first = next(shards[0]._samples(), None)
    except tarfile.TarError as error:
        raise ValueError(f"{files[0]} cannot be read as a tar file: {error}") from error
    if first is None or (_record("", first[1], TaskDataConfig()) is None and ".json" not in first[1]):
        found = sorted(first[1]) if first else "nothing"
        raise ValueError(f"{files[0]} begins with {found}: a sample is a.jpg with a.txt or a.json")
    return list(shards)


def _record(key: str, members: Mapping[str, bytes], config: TaskDataConfig) -> Record | None:
    facts = json.loads(members.get(".json", b"{}"))
    prompt = members[".txt"].decode().strip() if ".txt" in members else facts.get(config.prompt_column)
    image = _picture(members, "")
    if not image or not isinstance(prompt, str):
        return None
    return Record(
        key, prompt, image,
        source=_picture(members, f".{config.source_column}"), mask=_picture(members, f".{config.mask_column}"),
    )  # fmt: skip


def _picture(members: Mapping[str, bytes], prefix: str) -> bytes:
    return next((members[prefix + ending] for ending in IMAGE_ENDINGS if prefix + ending in members), b"")


def _split(name: str) -> tuple[str, str]:
    """Key and ending of a member: a/b.source.png is a/b and .source.png."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    return str(path.with_name(stem)), f".{ending.lower()}"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None, "only regular files come here"
    return stream.read()
