"""Builds the networks that methods share from the configuration, and places them in an engine."""

from __future__ import annotations

from typing import Any

import torch

from ladd_ray.config import Config
from ladd_ray.interfaces import Engine, FeatureExtractor
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.lora import with_adapters
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features
from ladd_ray.models.student import silent_embedding
from ladd_ray.training.knobs import guidance_knobs

Transformer = Any
"""An SD3 transformer; its class is known to ``ladd_ray.models`` alone."""


def load_teacher(config: Config) -> Transformer:
    """The teacher's transformer, for all networks that only read its weights."""
    return load_transformer(config.teacher.path, precision=config.teacher.precision)


def new_student(config: Config, *, teacher: Transformer | None = None) -> SD3Denoiser:
    """The student as it starts, drawing what the teacher draws, in no engine yet.

    Args:
        config: of the run.
        teacher: frozen weights that adapters may share; without it they get a copy of their own.
    """
    transformer = _adapted(config, teacher) if config.lora.rank else _own_weights(config)
    knobs = guidance_knobs(config)
    return SD3Denoiser(
        transformer,
        strengths=None if knobs is None else silent_embedding(transformer, knobs, seed=config.run.seed),
        activation_checkpointing=config.student.activation_checkpointing,
    )


def frozen_features(config: Config, engine: Engine, *, teacher: Transformer, shared: bool) -> FeatureExtractor:
    """The judge's backbone: the teacher up to its last tapped block.

    Args:
        config: of the run.
        engine: where it goes.
        teacher: its weights.
        shared: other networks read them too; otherwise those behind the last tapped block are let go.
    """
    features = SD3Features(
        teacher,
        tapped_blocks=config.discriminator.tapped_blocks,
        # The student's gradient passes through the judge, so the judge keeps activations too.
        activation_checkpointing=config.student.activation_checkpointing,
    )
    if not shared:
        features.truncate()
    frozen = engine.freeze(features, sharded=config.teacher.sharded)
    return torch.compile(frozen) if config.run.compile_teacher else frozen


def _own_weights(config: Config) -> Transformer:
    return load_transformer(config.teacher.path, precision=config.student.precision)


def _adapted(config: Config, teacher: Transformer | None) -> Transformer:
    base = load_teacher(config) if teacher is None else teacher
    # Every rank draws the same adapters.
    torch.manual_seed(config.run.seed)
    return with_adapters(base, config.lora)
