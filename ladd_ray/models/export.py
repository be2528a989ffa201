"""A trained model as a stock folder: plain ``StableDiffusion3Pipeline.from_pretrained`` opens one that generates,
``StableDiffusion3InpaintPipeline.from_pretrained`` one that edits and inpaints too.

A student's sampler needs no code of ours there: diffusers' flow-match Euler scheduler with ``stochastic_sampling``
predicts x0 and noises it afresh to the next level, ``x_next = (1 - sigma_next) x0 + sigma_next noise``.
Without a shift, and with the levels passed as ``sigmas``, that is the sampler of LADD (arXiv 2403.12015).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from safetensors import safe_open
from torch import Tensor

from ladd_ray.config import Precision
from ladd_ray.models.folder import (
    dtype_of,
    has_three_tasks,
    local_copy,
    require_sd3,
    scheduler_config,
    shape_config,
)
from ladd_ray.models.model_card import model_card
from ladd_ray.models.strengths import Knobs, Strengths, fold_strengths
from ladd_ray.models.student import PREFIX, trained_embedding, write_strengths
from ladd_ray.models.widening import fold_generation

LEVELS_KEY: Final = "_ladd_levels"
"""In the scheduler's configuration: diffusers carries names with an underscore through loading and saving."""


def export_pipeline(
    source: Path | str,
    state_dict: Mapping[str, Tensor],
    output: Path,
    *,
    levels: Sequence[float] | None,
    provenance: Mapping[str, Any],
    precision: Precision | None = None,
    fold: bool = False,
    knobs: Knobs | None = None,
    strengths: Strengths | None = None,
) -> Path:
    """Writes a complete pipeline folder: the trained transformer, and all else as in ``source``.

    A transformer that edits and inpaints makes a folder of diffusers' inpainting pipeline, whichever ``source`` is.
    A student with guidance knobs makes a folder whose stock weights draw at one setting of them, which is exact; its
    knobs lie beside, in a file that ``load_student`` reads.

    The folder appears whole or not at all.

    Args:
        source: the pipeline that training began with, a folder or a hub name.
        state_dict: whole weights of an ``SD3Denoiser`` or of its transformer.
        output: folder to make.
        levels: noise levels that a student's sampler visits, falling from 1, without the final 0; None for a model of
            many steps, which keeps the sampler of ``source``.
        provenance: how the weights were made; JSON values, written to ``ladd.json``. The README names its "method".
        precision: of the written weights; by default that of the source's files.
        fold: write only the text-to-image part of a transformer that edits and inpaints, which is exact.
        knobs: of a student that has them.
        strengths: one setting of the knobs to keep for good, without the knobs; by default they stay.

    Returns:
        ``output``.

    Raises:
        ValueError: ``output`` exists, the weights do not fit the source's transformer, or there is nothing to fold.
        ValueError: knobs and weights do not belong together, or strengths for a student without knobs.
    """
    if output.exists():
        raise ValueError(f"{output} exists: choose another folder, or remove it first")
    folder = local_copy(source)
    dtype = dtype_of(precision) if precision else stored_dtype(folder)
    transformer = _filled(folder, state_dict, dtype=dtype)
    if fold:
        transformer = fold_generation(transformer)
    three_tasks = transformer.config.in_channels != transformer.out_channels
    embedding = trained_embedding(transformer, state_dict, knobs=knobs)
    setting = _setting(knobs, strengths)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        _copy_components(folder, partial, with_scheduler=levels is None)
        if embedding is not None and setting is not None:
            if strengths is None:
                write_strengths(partial, embedding, transformer=transformer)
            fold_strengths(transformer, embedding, strengths=setting)
        transformer.save_pretrained(partial / "transformer", safe_serialization=True)
        if levels is not None:
            _write_scheduler(partial, levels)
        if three_tasks != has_three_tasks(folder):
            _write_index(partial, three_tasks=three_tasks)
        card = model_card(
            partial,
            output.name,
            levels=levels,
            three_tasks=three_tasks,
            strengths=setting,
            method=provenance.get("method"),
        )
        (partial / "README.md").write_text(card)
        (partial / "ladd.json").write_text(json.dumps(dict(provenance), indent=2) + "\n")
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output


def exported_levels(path: Path | str) -> tuple[float, ...]:
    """The noise levels that an exported student's sampler visits, falling from 1, without the final 0.

    Raises:
        ValueError: the folder is not an export of this project.
    """
    scheduler = scheduler_config(path)
    if LEVELS_KEY not in scheduler:
        raise ValueError(f"{path} is no distilled student (its scheduler names no levels): give an exported folder")
    return tuple(float(level) for level in scheduler[LEVELS_KEY])


def _setting(knobs: Knobs | None, strengths: Strengths | None) -> Strengths | None:
    """Where the knobs of the stock weights stand."""
    if knobs is None and strengths is not None:
        raise ValueError("this student has no guidance knobs: export it without strengths")
    if knobs is None or strengths is not None:
        return strengths
    return knobs.pick()


def stored_dtype(folder: Path) -> torch.dtype:
    """Precision of the transformer's weights as they lie in the folder's files."""
    file = next(iter(sorted(folder.glob("transformer/*.safetensors"))), None)
    if file is None:
        raise ValueError(f"{folder}/transformer has no safetensors: save the source with safe_serialization first")
    with safe_open(file, framework="pt") as tensors:
        first: Tensor = tensors.get_tensor(next(iter(tensors.keys())))
    return first.dtype


def _filled(folder: Path, state_dict: Mapping[str, Tensor], *, dtype: torch.dtype) -> SD3Transformer2DModel:
    weights = {
        name.removeprefix("transformer."): tensor.detach().to("cpu", dtype, copy=True).contiguous()
        for name, tensor in state_dict.items()
        if not name.startswith(PREFIX)
    }
    transformer = _empty(folder, entrance=weights.get("pos_embed.proj.weight"))
    try:
        transformer.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the student's weights do not fit the transformer of {folder}: {error}") from error
    return transformer


def _empty(folder: Path, *, entrance: Tensor | None) -> SD3Transformer2DModel:
    """The folder's transformer without weights, with as many input channels as the trained entrance (d, c, 2, 2)."""
    shape = shape_config(folder)
    channels = shape["in_channels"] if entrance is None else entrance.shape[1]
    with torch.device("meta"):
        return SD3Transformer2DModel.from_config(
            shape | {"in_channels": channels, "out_channels": shape["out_channels"] or shape["in_channels"]}
        )


def _copy_components(folder: Path, target: Path, *, with_scheduler: bool) -> None:
    target.mkdir(parents=True)
    shutil.copy(folder / "model_index.json", target)
    for name, component in require_sd3(folder).items():
        present = isinstance(component, list) and component[0] is not None
        if present and name != "transformer" and (with_scheduler or name != "scheduler"):
            shutil.copytree(folder / name, target / name)


def _write_scheduler(folder: Path, levels: Sequence[float]) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, stochastic_sampling=True)
    scheduler.register_to_config(**{LEVELS_KEY: list(levels)})
    scheduler.save_pretrained(folder / "scheduler")


def _write_index(folder: Path, *, three_tasks: bool) -> None:
    """The class that plain diffusers makes of the folder."""
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    index["_class_name"] = "StableDiffusion3InpaintPipeline" if three_tasks else "StableDiffusion3Pipeline"
    path.write_text(json.dumps(index, indent=2) + "\n")
