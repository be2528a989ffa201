"""Parts become files piece by piece, and whoever comes later writes what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from ladd_ray.data.items import Item
from ladd_ray.data.row_files import ROWS_PER_PIECE, Part, parts_of, require_whole, write_piece
from ladd_ray.data.task_rows import to_table
from ladd_ray.data_sections import TaskDataConfig
from tests.data.stored import row

SETTINGS = TaskDataConfig()


@dataclass(frozen=True)
class Numbers:
    """A shard of so many items."""

    count: int

    def items(self, config: TaskDataConfig) -> Iterator[Item]:
        assert config is SETTINGS
        return (Item(number, False, "generate", "", b"", b"", b"") for number in range(self.count))


def write(folder: Path, part: Part, *, at_most: int = 99) -> list[str]:
    """What a worker does that is killed after some pieces; the names of the files it wrote."""
    names = []
    for path, items in part.missing(folder, SETTINGS):
        if len(names) == at_most:
            break
        write_piece(path, to_table([row(item.id) for item in items]))
        names.append(path.name)
    return names


def ids(folder: Path) -> list[int]:
    return sorted(number for file in folder.glob("*.parquet") for number in parquet.read_table(file)["id"].to_pylist())


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_PIECE - 1, ROWS_PER_PIECE, ROWS_PER_PIECE + 1, 3 * ROWS_PER_PIECE])
def test_every_item_is_in_one_piece_and_the_last_says_so(tmp_path: Path, count: int) -> None:
    part = Part(7, Numbers(count))
    assert not part.is_complete(tmp_path)
    names = write(tmp_path, part)
    assert names[-1].endswith("-last.parquet")
    assert len(names) == max(1, -(-count // ROWS_PER_PIECE))
    assert part.is_complete(tmp_path)
    assert ids(tmp_path) == list(range(count))
    assert list(part.missing(tmp_path, SETTINGS)) == []


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_killed_part_goes_on_where_it_was(tmp_path: Path, killed_after: int) -> None:
    part = Part(0, Numbers(2 * ROWS_PER_PIECE + 5))
    before = write(tmp_path, part, at_most=killed_after)
    (tmp_path / "rows-000000-0001.parquet.abc.part").write_text("half a file")
    after = write(tmp_path, part)
    assert len(before) == killed_after
    assert not {*before} & {*after}
    assert ids(tmp_path) == list(range(2 * ROWS_PER_PIECE + 5))


def test_parts_do_not_take_each_others_pieces(tmp_path: Path) -> None:
    parts = parts_of([Numbers(3), Numbers(4)])
    write(tmp_path, parts[0])
    assert [part.is_complete(tmp_path) for part in parts] == [True, False]
    with pytest.raises(RuntimeError, match=r"parts \[1\] .* were not made"):
        require_whole(tmp_path, parts)


def test_rows_that_are_there_twice_are_noticed(tmp_path: Path) -> None:
    parts = parts_of([Numbers(3), Numbers(3)])
    for part in parts:
        write(tmp_path, part)
    with pytest.raises(RuntimeError, match="holds 3 rows twice"):
        require_whole(tmp_path, parts)


def test_a_large_row_gets_a_row_group_of_its_own(tmp_path: Path) -> None:
    write_piece(tmp_path / "large.parquet", to_table([row(number, size=(1200, 1200)) for number in range(2)]))
    assert parquet.ParquetFile(tmp_path / "large.parquet").num_row_groups == 2
    write_piece(tmp_path / "small.parquet", to_table([row(number) for number in range(50)]))
    assert parquet.ParquetFile(tmp_path / "small.parquet").num_row_groups == 1
