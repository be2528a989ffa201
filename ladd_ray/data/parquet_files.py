"""Parquet files with pictures as bytes, as image data sets are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from ladd_ray.data.items import Item, Record, Shard, items_of
from ladd_ray.data_sections import TaskDataConfig

READ_ROWS = 64


@dataclass(frozen=True)
class ParquetShard:
    """One file."""

    path: Path

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        """Reads a few rows at a time; a row without picture or text is left out."""
        with parquet.ParquetFile(self.path) as file:
            columns = [name for name in _columns(config) if name in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(READ_ROWS, columns=columns):
                for row in batch.to_pylist():
                    record = _record(f"{self.path.name}/{number}", row, config)
                    number += 1
                    if record.image and record.prompt:
                        yield from items_of(record, config)


def parquet_shards(files: Sequence[Path], config: TaskDataConfig) -> list[Shard]:
    """One shard for each file.

    Raises:
        ValueError: a file lacks a column or has no rows.
    """
    for path in files:
        try:
            schema, rows = parquet.read_schema(path), parquet.read_metadata(path).num_rows
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} cannot be read as parquet: {error}") from error
        missing = {"data.image_column": config.image_column, "data.prompt_column": config.prompt_column}
        for setting, name in missing.items():
            if name not in schema.names:
                raise ValueError(f"{path} has no column {name!r} but {schema.names}: set {setting} to one of them")
        if not _holds_pictures(kind := schema.field(config.image_column).type):
            raise ValueError(f"{path} holds {kind} in {config.image_column!r}, not pictures: set data.image_column")
        if not rows:
            raise ValueError(f"{path} has no rows: leave it out of data.source")
    return [ParquetShard(path) for path in files]


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _columns(config: TaskDataConfig) -> tuple[str, ...]:
    return config.image_column, config.prompt_column, config.source_column, config.mask_column


def _record(key: str, row: Mapping[str, Any], config: TaskDataConfig) -> Record:
    image, source, mask = (
        _bytes(row.get(name)) for name in (config.image_column, config.source_column, config.mask_column)
    )
    return Record(key, row[config.prompt_column] or "", image, source, mask)


def _bytes(value: bytes | Mapping[str, Any] | None) -> bytes:
    """A picture, given as bytes or as the struct {bytes, path} of Hugging Face's data sets."""
    content = value.get("bytes") if isinstance(value, Mapping) else value
    return content or b""
