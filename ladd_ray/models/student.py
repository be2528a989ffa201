"""A student: its transformer and, if it has guidance knobs, their embedding; how it begins, is stored and is loaded.

The knobs of an export lie in one file beside the stock folder, whose own weights are folded at the default strengths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from diffusers import SD3Transformer2DModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ladd_ray.config import Precision
from ladd_ray.models.folder import STRENGTHS_NAME, is_hub_name, load_transformer, local_copy
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Knob, Knobs, StrengthEmbedding

KNOBS_KEY: Final = "knobs"
"""In the file's metadata: ranges and defaults, as JSON."""
BIAS_KEY: Final = "text_embedder.linear_1.bias"
"""In the file: the bias that the transformer was trained with, which the stock folder has folded."""
PREFIX: Final = "strengths."
"""Of the embedding's weights in the state of a whole student."""


def silent_embedding(transformer: SD3Transformer2DModel, knobs: Knobs, *, seed: int) -> StrengthEmbedding:
    """The knobs of a student as training begins: none changes anything yet.

    Args:
        transformer: the student's own; gives width and precision.
        knobs: to learn.
        seed: of the first layer, the same on every rank.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        embedding = StrengthEmbedding(int(transformer.config.pooled_projection_dim), knobs=knobs)
    return embedding.to(transformer.dtype)


def load_student(path: Path | str, *, precision: Precision) -> SD3Denoiser:
    """The network of a pipeline folder, with its knobs where it has any, on the CPU.

    Raises:
        ValueError: no such folder, or not of the Stable Diffusion 3 family.
    """
    transformer = load_transformer(path, precision=precision)
    file = _strengths_file(path)
    if file is None:
        return SD3Denoiser(transformer)
    with safe_open(file, framework="pt") as opened:
        knobs = _from_json(opened.metadata()[KNOBS_KEY])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    with torch.no_grad():
        transformer.time_text_embed.text_embedder.linear_1.bias.copy_(weights.pop(BIAS_KEY))
    return SD3Denoiser(transformer, strengths=_filled(transformer, knobs, weights))


def write_strengths(folder: Path, embedding: StrengthEmbedding, *, transformer: SD3Transformer2DModel) -> None:
    """Keep the knobs beside a stock folder, with what folding will change in the transformer."""
    weights = {name: tensor.contiguous() for name, tensor in embedding.state_dict().items()}
    bias = transformer.time_text_embed.text_embedder.linear_1.bias.detach()
    metadata = {"format": "pt", KNOBS_KEY: json.dumps(asdict(embedding.knobs))}
    save_file({**weights, BIAS_KEY: bias}, folder / STRENGTHS_NAME, metadata=metadata)


def trained_embedding(
    transformer: SD3Transformer2DModel, state_dict: Mapping[str, Tensor], *, knobs: Knobs | None
) -> StrengthEmbedding | None:
    """The embedding in the state of a whole student, in the transformer's precision; None where it has no knobs.

    Raises:
        ValueError: knobs without an embedding, or an embedding without knobs.
    """
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in state_dict.items() if name.startswith(PREFIX)}
    if bool(weights) != (knobs is not None):
        raise ValueError(
            "knobs and the weights of their embedding belong together: give both (a student trained with "
            "student.guidance_knobs) or neither"
        )
    return None if knobs is None else _filled(transformer, knobs, weights)


def _filled(transformer: SD3Transformer2DModel, knobs: Knobs, weights: Mapping[str, Tensor]) -> StrengthEmbedding:
    embedding = silent_embedding(transformer, knobs, seed=0)
    embedding.load_state_dict(dict(weights))
    return embedding.requires_grad_(False)


def _strengths_file(path: Path | str) -> Path | None:
    """Our own exports are folders here: a hub's snapshot is not fetched for this."""
    if is_hub_name(path):
        return None
    file = local_copy(path) / STRENGTHS_NAME
    return file if file.is_file() else None


def _from_json(text: str) -> Knobs:
    found = json.loads(text)
    return Knobs(text=Knob(**found["text"]), image=Knob(**found["image"]))
