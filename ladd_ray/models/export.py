"""A distilled student as a stock folder, which plain ``StableDiffusion3Pipeline.from_pretrained`` opens.

Its sampler needs no code of ours there: diffusers' flow-match Euler scheduler with ``stochastic_sampling``
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
    T5_TOKENS,
    dtype_of,
    local_copy,
    random_transformer,
    require_sd3,
    scheduler_config,
)

LEVELS_KEY: Final = "_ladd_levels"
"""In the scheduler's configuration: diffusers carries names with an underscore through loading and saving."""

README: Final = """\
---
library_name: diffusers
pipeline_tag: text-to-image
---
# {name}

A few-step text-to-image model of the Stable Diffusion 3 family, made by latent adversarial diffusion
distillation (LADD, arXiv 2403.12015). It draws in 1 to {num_levels} steps without guidance.
`ladd.json` says how it was made.

```python
import torch
from diffusers import StableDiffusion3Pipeline

pipeline = StableDiffusion3Pipeline.from_pretrained({opening})  # this folder
pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
levels = {levels}

torch.manual_seed(0)  # seeds the first noise, and the fresh noise of every later step
image = pipeline(
    "{prompt}",
    num_inference_steps=len(levels),
    sigmas=levels,
    guidance_scale=1.0,
    max_sequence_length={max_sequence_length},
).images[0]
image.save("image.png")
```

Always pass `sigmas`: the model knows these noise levels only. For fewer steps take every n-th level,
`levels[::2]` or `levels[:1]`. Guidance stays off.
"""


def export_pipeline(
    source: Path | str,
    state_dict: Mapping[str, Tensor],
    output: Path,
    *,
    levels: Sequence[float],
    provenance: Mapping[str, Any],
    precision: Precision | None = None,
) -> Path:
    """Writes a complete pipeline folder: the student's transformer, and all else as in ``source``.

    The folder appears whole or not at all.

    Args:
        source: the pipeline the student was distilled from, a folder or a hub name.
        state_dict: whole weights of an ``SD3Denoiser`` or of its transformer.
        output: folder to make.
        levels: noise levels that the student's sampler visits, falling from 1, without the final 0.
        provenance: how the student was made; JSON values, written to ``ladd.json``.
        precision: of the written weights; by default that of the source's files.

    Returns:
        ``output``.

    Raises:
        ValueError: ``output`` exists, or the weights do not fit the source's transformer.
    """
    if output.exists():
        raise ValueError(f"{output} exists: choose another folder, or remove it first")
    folder = local_copy(source)
    dtype = dtype_of(precision) if precision else stored_dtype(folder)
    student = _filled(folder, state_dict, dtype=dtype)

    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        _copy_components(folder, partial)
        student.save_pretrained(partial / "transformer", safe_serialization=True)
        _write_scheduler(partial, levels)
        _write_texts(partial, output.name, levels=levels, provenance=provenance)
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
    }
    transformer = random_transformer(folder, device="meta")
    try:
        transformer.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the student's weights do not fit the transformer of {folder}: {error}") from error
    return transformer


def _copy_components(folder: Path, target: Path) -> None:
    target.mkdir(parents=True)
    shutil.copy(folder / "model_index.json", target)
    for name, component in require_sd3(folder).items():
        present = isinstance(component, list) and component[0] is not None
        if present and name not in ("transformer", "scheduler"):
            shutil.copytree(folder / name, target / name)


def _write_scheduler(folder: Path, levels: Sequence[float]) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, stochastic_sampling=True)
    scheduler.register_to_config(**{LEVELS_KEY: list(levels)})
    scheduler.save_pretrained(folder / "scheduler")


def _write_texts(folder: Path, name: str, *, levels: Sequence[float], provenance: Mapping[str, Any]) -> None:
    t5_tokens = _t5_tokens(folder)
    readme = README.format(
        name=name,
        levels=list(levels),
        num_levels=len(levels),
        prompt="a red apple left of a banana on a blue background",
        max_sequence_length=t5_tokens or 0,
        opening='"."' if t5_tokens is not None else '".", text_encoder_3=None, tokenizer_3=None',
    )
    (folder / "README.md").write_text(readme)
    (folder / "ladd.json").write_text(json.dumps(dict(provenance), indent=2) + "\n")


def _t5_tokens(folder: Path) -> int | None:
    settings = folder / "tokenizer_3" / "tokenizer_config.json"
    if not settings.is_file():
        return None
    return min(T5_TOKENS, int(json.loads(settings.read_text()).get("model_max_length", T5_TOKENS)))
