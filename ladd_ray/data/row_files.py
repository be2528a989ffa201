"""Rows on their way to disk: parts of a source, each written in pieces, so that a killed job loses one piece at most.

A piece is a file whose name follows from its part and its place. It appears under that name when it is whole; the
last piece of a part says so. Whoever goes on writes what is missing: no row is lost, and none is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as parquet

from ladd_ray.data.items import Item, Shard
from ladd_ray.data_sections import TaskDataConfig

ROWS_PER_PIECE = 128
"""Rows between two files of a part."""
GROUP_BYTES = 4_000_000
"""Rows that are read together when one of them is wanted take about this much."""
LAST = "last"


@dataclass(frozen=True)
class Part:
    """What one process turns into files, from front to back."""

    number: int
    shard: Shard

    def missing(self, folder: Path, config: TaskDataConfig) -> Iterator[tuple[Path, list[Item]]]:
        """The pieces that are not there yet: where each belongs, and what becomes its rows."""
        place = self._written(folder)
        if self.is_complete(folder):
            return
        items = islice(self.shard.items(config), place * ROWS_PER_PIECE, None)
        piece = list(islice(items, ROWS_PER_PIECE))
        while True:
            following = list(islice(items, ROWS_PER_PIECE))
            ending = "" if following else f"-{LAST}"
            yield folder / f"{self._stem}-{place:04d}{ending}.parquet", piece
            if not following:
                return
            piece, place = following, place + 1

    def is_complete(self, folder: Path) -> bool:
        """Whether all of its pieces are there."""
        return any(folder.glob(f"{self._stem}-*-{LAST}.parquet"))

    def _written(self, folder: Path) -> int:
        return len(list(folder.glob(f"{self._stem}-*.parquet")))

    @property
    def _stem(self) -> str:
        return f"rows-{self.number:06d}"


def parts_of(shards: Sequence[Shard]) -> list[Part]:
    """The shards with their numbers."""
    return [Part(number, shard) for number, shard in enumerate(shards)]


def write_piece(path: Path, table: pa.Table) -> None:
    """The rows of a piece, in groups that are cheap to read one row from; whole or not at all."""
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
    bytes_per_row = max(1, table.nbytes // max(1, len(table)))
    rows = max(1, GROUP_BYTES // bytes_per_row)
    # Nobody looks rows up by their content, and no two latents are equal.
    parquet.write_table(table, partial, row_group_size=rows, write_statistics=False, use_dictionary=["task", "prompt"])
    partial.replace(path)


def require_whole(folder: Path, parts: Sequence[Part]) -> None:
    """The last look before a set is called finished.

    Raises:
        RuntimeError: a part is not complete, or an id is there twice.
    """
    left = [part.number for part in parts if not part.is_complete(folder)]
    if left:
        raise RuntimeError(f"parts {left[:5]} of {folder} were not made: run the same command again")
    files = sorted(folder.glob("*.parquet"))
    ids = pa.concat_tables(parquet.read_table(file, columns=["id"]) for file in files)["id"]
    if len(ids.unique()) < len(ids):
        raise RuntimeError(f"{folder} holds {len(ids) - len(ids.unique())} rows twice: delete it and make it anew")
