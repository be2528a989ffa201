"""Builds the networks of a run from its configuration, and places them in an engine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import Config, Precision
from ladd_ray.interfaces import Engine, TrainableNetwork
from ladd_ray.models.folder import load_transformer, random_transformer
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features


@dataclass(frozen=True)
class Networks:
    """The three players: the student and the heads learn, the features come from the frozen teacher."""

    student: TrainableNetwork
    heads: TrainableNetwork
    features: nn.Module


def build_networks(config: Config, engine: Engine) -> Networks:
    """Student and features from the teacher's weights, heads from the run's seed: the same on every rank."""
    features = SD3Features(
        _transformer(config, precision=config.teacher.precision), tapped_blocks=config.discriminator.tapped_blocks
    )
    student = SD3Denoiser(
        _transformer(config, precision=config.student.precision),
        activation_checkpointing=config.student.activation_checkpointing,
    )
    torch.manual_seed(config.run.seed)
    heads = DiscriminatorHeads.from_config(
        config.discriminator,
        student.hidden_size,
        pooled_size=student.pooled_size,
        num_blocks=student.num_blocks,
    )
    frozen = engine.freeze(features, sharded=config.teacher.sharded)
    return Networks(
        student=engine.prepare(student, config.student),
        heads=engine.prepare(heads, config.discriminator),
        features=torch.compile(frozen) if config.run.compile_teacher else frozen,
    )


def _transformer(config: Config, *, precision: Precision) -> nn.Module:
    load = random_transformer if config.teacher.random_weights else load_transformer
    return load(config.teacher.path, precision=precision)
