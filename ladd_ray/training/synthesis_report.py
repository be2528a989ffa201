"""What a finished training set holds: its rows, what they weigh, and a sheet decoded from what was written.

Shapes: h w height and width in pixels, last axis red, green, blue; c latent channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.config import Config
from ladd_ray.data.task_rows import EMBEDDINGS, SIZE
from ladd_ray.evaluation.contact_sheet import Cell, Section, contact_sheet
from ladd_ray.evaluation.contact_sheet import Row as SheetRow
from ladd_ray.inference.images import decode
from ladd_ray.models.autoencoder import Autoencoder

COLUMNS = ("task", "prompt", "real", "text_guidance", "image_guidance", *SIZE, "latents", "source")
ROWS_LOOKED_AT = 1000
SHOWN = 8
"""Rows of each task and size."""
LARGEST_SIDE = 128
"""Of a picture on the sheet, in pixels."""

Row = Mapping[str, Any]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Inventory:
    """What lies in a folder of rows."""

    tasks: Mapping[str, int]
    """Rows by task."""
    latent_bytes: int
    """Of latents, sources and masks, as they lie in the files."""
    embedding_bytes: int
    """Of the prompts' embeddings."""

    @classmethod
    def of(cls, folder: Path) -> Inventory:
        """Reads the task of every row; what columns weigh stands at the end of each file."""
        tasks: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for path in sorted(folder.glob("*.parquet")):
            with parquet.ParquetFile(path) as file:
                tasks.update(file.read(columns=["task"])["task"].to_pylist())
                sizes.update(_column_sizes(file.metadata))
        latents = sizes["latents"] + sizes["source"] + sizes["mask"]
        return cls(dict(sorted(tasks.items())), latents, sum(sizes[name] for name in EMBEDDINGS))

    def describe(self) -> str:
        """For people: rows by task, and what embeddings cost beside latents."""
        rows = ", ".join(f"{count} {task}" for task, count in self.tasks.items())
        share = self.embedding_bytes / max(1, self.latent_bytes)
        return (
            f"{sum(self.tasks.values())} rows ({rows}): {self.latent_bytes / 1e6:.1f} MB of latents, "
            f"{self.embedding_bytes / 1e6:.1f} MB of prompt embeddings ({share:.1f} times as much)"
        )


def draw_sheet(config: Config, folder: Path) -> Path:
    """Decode the first rows of every task and size; returns the picture, which lies beside the folder.

    It is not inside, where every file has been sealed.
    """
    # The few pictures are decoded by the driver, which need not have a GPU.
    autoencoder = Autoencoder.from_pretrained(config.teacher.path, precision="fp32", device="cpu")
    groups: dict[str, list[SheetRow]] = {}
    for (task, *_), rows in _first_rows(folder).items():
        height, width = (rows[0][side] * autoencoder.downsampling for side in ("height", "width"))
        cells = [_cell(row, autoencoder) for row in rows]
        groups.setdefault(task, []).append(SheetRow(f"{height} x {width}", cells))
    notes = {"edit": "source, result", "inpaint": "what is left, picture"}
    sheet = folder.with_name(f"{folder.name}.png")
    contact_sheet([Section(task, notes.get(task, ""), rows) for task, rows in groups.items()], sheet)
    return sheet


def _first_rows(folder: Path) -> dict[tuple[Any, ...], list[Row]]:
    """By task and size."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for number, row in enumerate(_rows(folder)):
        group = groups.setdefault((row["task"], *(row[name] for name in SIZE)), [])
        if len(group) < SHOWN:
            group.append(row)
        if number + 1 == ROWS_LOOKED_AT:
            break
    return dict(sorted(groups.items()))


def _rows(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.glob("*.parquet")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(16, columns=list(COLUMNS)):
                yield from batch.to_pylist()


def _cell(row: Row, autoencoder: Autoencoder) -> Cell:
    shown = [row[name] for name in ("source", "latents") if row[name]]
    return Cell([_picture(content, row, autoencoder) for content in shown], _text(row))


def _picture(content: bytes, row: Row, autoencoder: Autoencoder) -> Picture:
    values = np.frombuffer(content, np.float16).reshape([row[name] for name in SIZE])
    picture = Image.fromarray(decode(autoencoder, torch.from_numpy(values.astype(np.float32))[None])[0])
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(picture)


def _text(row: Row) -> str:
    if row["real"]:
        return f"{row['prompt']} (real)"
    by_source = f", {row['image_guidance']:.3g}" if row["source"] else ""
    return f"{row['prompt']} (guidance {row['text_guidance']:.3g}{by_source})"


def _column_sizes(metadata: parquet.FileMetaData) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            found = metadata.row_group(group).column(column)
            sizes[found.path_in_schema] += found.total_compressed_size
    return sizes
