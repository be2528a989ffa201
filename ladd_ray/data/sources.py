"""Where rows come from: the embedded world, or files in one of three layouts; checked before anything starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ladd_ray.data.image_folders import folder_shards
from ladd_ray.data.items import Shard
from ladd_ray.data.parquet_files import parquet_shards
from ladd_ray.data.task_world import world_shards
from ladd_ray.data.webdataset import tar_shards
from ladd_ray.data_sections import EMBEDDED, TaskDataConfig


def list_shards(config: TaskDataConfig) -> list[Shard]:
    """The parts of the source, in a fixed order.

    Raises:
        ValueError: there is nothing, or it is not laid out as it should be; the message says what to do.
    """
    if config.source == EMBEDDED:
        return world_shards(config)
    if Path(config.source).is_dir():
        return folder_shards(Path(config.source), config)
    files = source_files(config)
    return tar_shards(files) if files[0].suffix == ".tar" else parquet_shards(files, config)


def source_files(config: TaskDataConfig) -> list[Path]:
    """The files of a WebDataset or parquet source.

    Raises:
        ValueError: none is there, or they are of several kinds.
    """
    pattern = Path(config.source).absolute()
    files = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    if not files:
        raise ValueError(
            f"nothing at data.source = {config.source}: give '{EMBEDDED}', a folder of images, or a path of .tar or "
            ".parquet files, in quotes where it has a *"
        )
    if {file.suffix for file in files} not in ({".tar"}, {".parquet"}):
        raise ValueError(f"data.source = {config.source} must name .tar files only, or .parquet files only")
    return files


def source_fingerprint(config: TaskDataConfig) -> str:
    """The name of the embedded world, or 16 hex digits of the files' names and sizes."""
    if config.source == EMBEDDED:
        return EMBEDDED
    root = Path(config.source)
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else source_files(config)
    listing = "\n".join(f"{file} {file.stat().st_size}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def reading_fingerprint(config: TaskDataConfig) -> str:
    """Of the files and of all settings that decide which rows come of them."""
    columns = (config.image_column, config.prompt_column, config.source_column, config.mask_column)
    listing = "\n".join([source_fingerprint(config), *columns, str(config.views)])
    return hashlib.sha256(listing.encode()).hexdigest()[:16]
