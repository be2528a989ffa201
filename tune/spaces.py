"""What a sweep may search: spaces and grids as plain dictionaries, keyed by the dotted names of the configuration.

A list is a choice; ranges are ``{"uniform": [low, high]}`` or ``{"log_uniform": [low, high]}``. Every setting of the
heads, of the noise, of the losses and of the optimizers can stand here; see ``ladd_ray.sweep_space`` for what cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml  # type: ignore[import-untyped]

Space = dict[str, Any]

NOISE: Space = {
    # The paper's range of means, and that range shifted to 8 x 8 latents: by -ln 8, see the recipe stickers.
    "noise.renoise_mean": {"uniform": [-2.5, 2.0]},
    "noise.renoise_std": {"uniform": [0.5, 2.0]},
    "noise.levels": [[1.0, 0.75, 0.5, 0.25], [1.0, 0.9, 0.75, 0.5], [1.0, 0.6, 0.3, 0.1]],
    "noise.probabilities": [[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.4, 0.3, 0.2, 0.1]],
}

HEADS: Space = {
    "discriminator.tapped_blocks": ["all", "half", "last"],
    "discriminator.width": [32, 64, 128],
    "discriminator.depth": [1, 2, 3],
    "discriminator.kernel_size": [1, 3, 5],
    "discriminator.condition_on_sigma": [True, False],
    "discriminator.condition_on_prompt": [True, False],
}

TRAINING: Space = {
    "student.lr": {"log_uniform": [1e-5, 2e-4]},
    "discriminator.lr": {"log_uniform": [1e-4, 5e-3]},
    "discriminator.loss": ["hinge", "softplus", "bce"],
    "discriminator.r1": ["none", "approximate"],
    "discriminator.r1_weight": {"log_uniform": [10.0, 300.0]},
    "discriminator.misaligned_weight": [0.0, 0.5, 1.0],
    "discriminator.steps_per_student_step": [1, 2, 3],
    "distillation.weight": [0.0, 0.5, 2.5],
}

SPACES: Mapping[str, Space] = MappingProxyType(
    {"noise": NOISE, "heads": HEADS, "training": TRAINING, "all": {**NOISE, **HEADS, **TRAINING}}
)
"""For searches, by the name on the command line."""

PAPER_MEANS = [-0.5, 0.0, 0.5, 1.0, 2.0]
SHIFT = -2.0
"""Of the logit mean from 64 x 64 latents, where the paper works, to 8 x 8: the logarithm of the ratio of sides is
-2.08. The paper's choice of 1 becomes -1, which is what the recipe has."""

GRIDS: Mapping[str, Space] = MappingProxyType(
    {
        "noise": {"noise.renoise_mean": PAPER_MEANS, "noise.renoise_std": [0.5, 1.0, 2.0]},
        "noise_shifted": {
            "noise.renoise_mean": [mean + SHIFT for mean in PAPER_MEANS],
            "noise.renoise_std": [0.5, 1.0, 2.0],
        },
        "heads": {
            "discriminator.tapped_blocks": ["all", "half", "last"],
            "discriminator.condition_on_sigma": [True, False],
            "discriminator.condition_on_prompt": [True, False],
        },
    }
)
"""For ``--grid``, by the name on the command line: the paper's study of the renoising level, the same at the place that
fits small latents, and the study of the heads."""


def find_space(name: str, *, grid: bool) -> Space:
    """A space by its name, or from a JSON or YAML file.

    Raises:
        ValueError: there is neither.
    """
    known = GRIDS if grid else SPACES
    if name in known:
        return known[name]
    file = Path(name).expanduser()
    if not file.is_file():
        kind = "grid" if grid else "space"
        raise ValueError(f"no {kind} and no file named {name}: known are {', '.join(known)}")
    return read_space(file)


def read_space(file: Path) -> Space:
    """A space from a JSON or YAML file.

    Raises:
        ValueError: the file does not map settings to values.
    """
    text = file.read_text()
    try:
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must map settings to their values, such as noise.renoise_mean: [-1, 0, 1]")
    return content
