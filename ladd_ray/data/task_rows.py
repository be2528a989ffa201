"""How a row of three tasks is stored: a folder of parquet files, and how it was made.

Tensors lie in the files as the bytes of their fp16 values, since pictures of several sizes share a file.

Shape legend: c latent channels, h w latent, l prompt tokens, e embedding width, p pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
from safetensors.torch import load_file, save_file
from torch import Tensor

from ladd_ray.data.provenance import Facts
from ladd_ray.interfaces import Condition

EMPTY_PROMPT_NAME = "empty_prompt.safetensors"
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("heldout", pa.bool_()), ("task", pa.string()),
        ("channels", pa.int32()), ("height", pa.int32()), ("width", pa.int32()),
        ("latents", pa.binary()), ("source", pa.binary()), ("mask", pa.binary()),
        ("prompt_embeds", pa.binary()), ("pooled_prompt_embeds", pa.binary()),
    ]
)  # fmt: skip
"""Channels, height and width are those of the latents. Source and mask are empty where a task has none."""


@dataclass(frozen=True)
class TaskProvenance(Facts):
    """Everything that shapes an encoded set."""

    encoders: str
    """Fingerprint of autoencoder and text towers."""
    source: str
    """Fingerprint of the files, or the name of the embedded world."""
    settings: str
    """Those of ``data`` that decide about rows, as JSON."""
    precision: str


@dataclass(frozen=True)
class EncodedRow:
    """One row on its way into a file."""

    id: int
    """Names the row in its set; rows are read in this order."""
    heldout: bool
    task: str
    latents: Tensor
    """(c, h, w)."""
    prompt_embeds: Tensor
    """(l, e)."""
    pooled_prompt_embeds: Tensor
    """(p,)."""
    source: Tensor | None = None
    """Latents (c, h, w) of the picture to edit, or of the one whose hole was blanked."""
    mask: Tensor | None = None
    """(h, w) bool, True in the hole."""


def to_table(rows: Sequence[EncodedRow]) -> pa.Table:
    """The rows as they are stored."""
    columns = [
        {
            "id": row.id, "heldout": row.heldout, "task": row.task,
            **dict(zip(SIZE, row.latents.shape, strict=True)),
            **{name: _to_bytes(getattr(row, name), np.float16) for name in TENSORS}, "mask": _to_bytes(row.mask, bool),
        }
        for row in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(columns, schema=SCHEMA)


def save_empty_prompt(folder: Path, prompt: Condition) -> None:
    """Keep the embeddings of no text beside the rows; every encoder writes the same."""
    tensors = {"prompt_embeds": prompt.prompt_embeds, "pooled_prompt_embeds": prompt.pooled_prompt_embeds}
    partial = folder / f"{EMPTY_PROMPT_NAME}.{uuid4().hex}.part"
    save_file({name: tensor.cpu().float().contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(folder / EMPTY_PROMPT_NAME)


def load_empty_prompt(folder: Path) -> Condition:
    """What ``save_empty_prompt`` kept, one row."""
    tensors = load_file(folder / EMPTY_PROMPT_NAME)
    return Condition(tensors["prompt_embeds"], tensors["pooled_prompt_embeds"])


SIZE = ("channels", "height", "width")
"""The columns of a row's size."""

TENSORS = ("latents", "source", "prompt_embeds", "pooled_prompt_embeds")
"""The fp16 columns."""


def _to_bytes(tensor: Tensor | None, dtype: type) -> bytes:
    return b"" if tensor is None else tensor.detach().cpu().float().numpy().astype(dtype).tobytes()
