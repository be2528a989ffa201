"""Rows and finished sets that tests write themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ladd_ray.data.provenance import Facts, begin, finish
from ladd_ray.data.row_files import write_piece
from ladd_ray.data.task_rows import TaskRow, save_empty_prompt, to_table
from ladd_ray.interfaces import Condition

TOKENS, EMBEDDING, POOLED, CHANNELS = 3, 5, 6, 2


@dataclass(frozen=True)
class Origin(Facts):
    """Stands for a provenance."""

    teacher: str = "0" * 16
    seed: int = 0


def row(number: int, *, size: tuple[int, int] = (4, 4), **changes: object) -> TaskRow:
    """Every value of row r is r, so that a batch shows its rows."""
    plain = TaskRow(
        id=number,
        heldout=False,
        task="generate",
        prompt=f"prompt {number}",
        real=False,
        latents=torch.full((CHANNELS, *size), float(number)),
        prompt_embeds=torch.full((TOKENS, EMBEDDING), float(number)),
        pooled_prompt_embeds=torch.full((POOLED,), float(number)),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def write_set(folder: Path, *pieces: Sequence[TaskRow], facts: Facts | None = None) -> Path:
    """A finished set of one part, a file for each piece."""
    facts = facts or Origin()
    folder.mkdir(parents=True, exist_ok=True)
    begin(folder, facts)
    save_empty_prompt(folder, Condition(torch.zeros(1, TOKENS, EMBEDDING), torch.zeros(1, POOLED)))
    for place, piece in enumerate(pieces):
        write_piece(folder / f"rows-000000-{place:04d}.parquet", to_table(piece))
    finish(folder, facts)
    return folder
