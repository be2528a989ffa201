"""What a Stable Diffusion 3 pipeline folder is, how to check one, and how to get its transformer.

A path is a folder in diffusers' layout or a hub name ("organisation/model"). Only loading may fetch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from ladd_ray.config import Precision

TRANSFORMER_CLASS: Final = "SD3Transformer2DModel"

STRENGTHS_NAME: Final = "strengths.safetensors"
"""The guidance knobs of a student, beside its stock folder; see ``models.student``."""

T5_TOKENS: Final = 256
"""Prompt tokens of the T5 in the stock pipeline; a folder's own T5 tokenizer may set a smaller limit."""

_FAMILY: Final = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
}
_DEPTH_24: Final = {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
_DEPTH_38: Final = {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432}
_SD35: Final = {"qk_norm": "rms_norm"}
_DUAL: Final = {"dual_attention_layers": tuple(range(13))}

SHAPES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "sd3-medium": _FAMILY | _DEPTH_24 | {"pos_embed_max_size": 192},
        "sd3.5-medium": _FAMILY | _DEPTH_24 | _SD35 | _DUAL | {"pos_embed_max_size": 384},
        "sd3.5-large": _FAMILY | _DEPTH_38 | _SD35 | {"pos_embed_max_size": 192},
    }
)
"""Transformer configurations of the released models (SD3 paper: depth d has d heads of 64)."""


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of a configured precision."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def require_sd3(path: Path | str) -> dict[str, Any]:
    """The folder's ``model_index.json``; empty for a hub name, which is checked when it is loaded.

    Raises:
        ValueError: no such folder, not a pipeline folder, or not of the Stable Diffusion 3 family.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if is_hub_name(path):
            return {}
        raise ValueError(f"no model folder at {folder.resolve()}: give a Stable Diffusion 3 folder or a hub name")
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder} has no model_index.json: give the folder of the whole pipeline")
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text())
    found = (index.get("transformer") or [None, None])[1]
    if found != TRANSFORMER_CLASS:
        raise ValueError(
            f"{folder} holds {found or 'no transformer'}, not {TRANSFORMER_CLASS}: "
            "only the Stable Diffusion 3 family (SD3, SD3.5) can be distilled"
        )
    return index


def is_hub_name(path: Path | str) -> bool:
    """Whether ``path`` can only mean "organisation/model" on the hub: its first part is no folder here."""
    name = str(path)
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None and not Path(name).parent.exists()


def local_copy(path: Path | str) -> Path:
    """The pipeline folder itself, or the local snapshot of a hub name (fetched if it is not there yet).

    Raises:
        ValueError: as ``require_sd3``, or the hub name cannot be fetched.
    """
    require_sd3(path)
    if not is_hub_name(path):
        return Path(path).expanduser()
    try:
        snapshot = Path(StableDiffusion3Pipeline.download(str(path)))
    except OSError as error:
        raise ValueError(f"{path} is no folder here, and the hub does not give it: {error}") from error
    require_sd3(snapshot)
    return snapshot


def fingerprint(path: Path | str) -> str:
    """16 hex digits that change when the transformer's weights, its knobs or a component's configuration change."""
    return _digest(path, "transformer/*.safetensors", "*/*config.json", STRENGTHS_NAME)


def encoders_fingerprint(path: Path | str) -> str:
    """16 hex digits that change with the autoencoder, a text tower or a tokenizer, and not with the transformer."""
    return _digest(path, "vae/*", "text_encoder*/*", "tokenizer*/*")


def _digest(path: Path | str, *patterns: str) -> str:
    folder = local_copy(path)
    digest = hashlib.sha256()
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def load_transformer(path: Path | str, *, precision: Precision) -> SD3Transformer2DModel:
    """The transformer of a pipeline folder, with its weights, on the CPU."""
    transformer: SD3Transformer2DModel = SD3Transformer2DModel.from_pretrained(
        local_name(path), subfolder="transformer", dtype=dtype_of(precision)
    )
    return transformer


def local_name(path: Path | str) -> str:
    """What ``from_pretrained`` is given, after the check that is possible without the hub."""
    require_sd3(path)
    return str(path) if is_hub_name(path) else str(Path(path).expanduser())


def scheduler_shift(path: Path | str) -> float:
    """The constant timestep shift of the folder's sampler (3 for SD3 and SD3.5).

    Raises:
        ValueError: the shift depends on the resolution, so that there is no one number.
    """
    scheduler = scheduler_config(path)
    if scheduler.get("use_dynamic_shifting"):
        raise ValueError(f"the scheduler of {path} shifts by resolution: set data.shift to a number")
    return float(scheduler.get("shift", 1.0))


def scheduler_config(path: Path | str) -> dict[str, Any]:
    """The configuration of the folder's scheduler."""
    config: dict[str, Any] = FlowMatchEulerDiscreteScheduler.load_config(local_name(path), subfolder="scheduler")
    return config


def shape_config(name: Path | str) -> dict[str, Any]:
    """The transformer configuration behind a named shape (see ``SHAPES``) or a pipeline folder."""
    if str(name) in SHAPES:
        return dict(SHAPES[str(name)])
    config: dict[str, Any] = SD3Transformer2DModel.load_config(local_name(name), subfolder="transformer")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def largest_side(name: Path | str) -> int:
    """Pixels along the largest side that the transformer has positions for."""
    shape = shape_config(name)
    return int(shape["pos_embed_max_size"]) * int(shape["patch_size"]) * 8


def has_three_tasks(name: Path | str) -> bool:
    """Whether the transformer also edits and inpaints: it reads more channels than it draws."""
    shape = shape_config(name)
    return bool(shape["in_channels"] != (shape.get("out_channels") or shape["in_channels"]))


def random_transformer(
    name: Path | str, *, precision: Precision = "fp32", device: torch.device | str = "cpu"
) -> SD3Transformer2DModel:
    """A transformer of that shape with random weights; on the "meta" device it has sizes and no weights."""
    with torch.device(device):
        transformer: SD3Transformer2DModel = SD3Transformer2DModel.from_config(shape_config(name))
    return transformer.to(dtype_of(precision))
