"""How a training row is stored: a folder of parquet files, and how it was made.

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
        ("id", pa.int64()), ("heldout", pa.bool_()), ("task", pa.string()), ("prompt", pa.string()),
        ("real", pa.bool_()), ("text_guidance", pa.float32()), ("image_guidance", pa.float32()),
        ("channels", pa.int32()), ("height", pa.int32()), ("width", pa.int32()),
        ("latents", pa.binary()), ("source", pa.binary()), ("mask", pa.binary()),
        ("prompt_embeds", pa.binary()), ("pooled_prompt_embeds", pa.binary()),
    ]
)  # fmt: skip
"""Channels, height and width are those of the latents. Source and mask are empty where a task has none, embeddings
where they are not stored."""
SIZE = ("channels", "height", "width")
"""The columns of a row's size."""
EMBEDDINGS = ("prompt_embeds", "pooled_prompt_embeds")
TENSORS = ("latents", "source", *EMBEDDINGS)
"""The fp16 columns."""
SCALARS = ("id", "heldout", "task", "prompt", "real", "text_guidance", "image_guidance")
"""The columns that are no tensors."""


@dataclass(frozen=True)
class EncodedProvenance(Facts):
    """Everything that shapes a set of encoded pictures."""

    encoders: str
    """Fingerprint of autoencoder and text towers."""
    source: str
    """Fingerprint of the files, or the name of the embedded world."""
    settings: str
    """Those of ``data`` that decide about rows, as JSON."""
    precision: str


@dataclass(frozen=True)
class DrawnProvenance(Facts):
    """Everything that shapes a set that a teacher draws."""

    teacher: str
    """Fingerprint of the teacher's transformer and of every component's configuration."""
    encoders: str
    """Fingerprint of autoencoder and text towers."""
    prompts: str
    """Fingerprint of the prompts, in order; empty where none are drawn."""
    pictures: str
    """Fingerprint of files and of how they are read, or of the embedded world's first rows; empty where none are
    read."""
    tasks: str
    """Shares of the tasks."""
    origin: str
    num_latents: int
    guidance_scale: str
    """One number, or the smallest and the largest."""
    image_guidance_scale: str
    num_inference_steps: int
    shift: float
    sizes: str
    """Of the pictures, in pixels."""
    seed: int
    precision: str
    store_prompt_embeds: bool


@dataclass(frozen=True)
class TaskRow:
    """One row on its way into a file, or into a batch."""

    id: int
    """Names the row in its set; rows are read in this order."""
    heldout: bool
    task: str
    prompt: str
    real: bool
    """The latents are an encoded picture; else a teacher drew them."""
    latents: Tensor
    """(c, h, w)."""
    prompt_embeds: Tensor | None
    """(l, e)."""
    pooled_prompt_embeds: Tensor | None
    """(p,)."""
    source: Tensor | None = None
    """Latents (c, h, w) of the picture to edit, or of the one whose hole was blanked."""
    mask: Tensor | None = None
    """(h, w) bool, True in the hole."""
    text_guidance: float = 1.0
    """Of the teacher that drew it."""
    image_guidance: float = 1.0


def to_table(rows: Sequence[TaskRow]) -> pa.Table:
    """The rows as they are stored."""
    columns = [
        {
            **{name: getattr(row, name) for name in SCALARS},
            **dict(zip(SIZE, row.latents.shape, strict=True)),
            **{name: _to_bytes(getattr(row, name), np.float16) for name in TENSORS},
            "mask": _to_bytes(row.mask, bool),
        }
        for row in rows
    ]
    return pa.Table.from_pylist(columns, schema=SCHEMA)


def save_empty_prompt(folder: Path, prompt: Condition) -> None:
    """Keep the embeddings of no text beside the rows; every worker writes the same."""
    tensors = {name: getattr(prompt, name) for name in EMBEDDINGS}
    partial = folder / f"{EMPTY_PROMPT_NAME}.{uuid4().hex}.part"
    save_file({name: tensor.cpu().float().contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(folder / EMPTY_PROMPT_NAME)


def load_empty_prompt(folder: Path) -> Condition:
    """What ``save_empty_prompt`` kept, one row."""
    tensors = load_file(folder / EMPTY_PROMPT_NAME)
    return Condition(tensors["prompt_embeds"], tensors["pooled_prompt_embeds"])


def _to_bytes(tensor: Tensor | None, dtype: type) -> bytes:
    return b"" if tensor is None else tensor.detach().cpu().float().numpy().astype(dtype).tobytes()
