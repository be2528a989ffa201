"""Builds the networks of a run from its configuration, and places them in an engine."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import Config
from ladd_ray.interfaces import Engine, FeatureExtractor, TrainableNetwork
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features


@dataclass(frozen=True)
class Networks:
    """The three players: the student and the heads learn, the features come from the frozen teacher."""

    student: TrainableNetwork
    heads: TrainableNetwork
    features: FeatureExtractor

    @property
    def trainable(self) -> dict[str, TrainableNetwork]:
        """Those that learn, by their names in a checkpoint."""
        return {"student": self.student, "heads": self.heads}


def build_networks(config: Config, engine: Engine) -> Networks:
    """Student and features from the teacher's weights, heads from the run's seed: the same on every rank."""
    recompute = config.student.activation_checkpointing
    features = SD3Features(
        load_transformer(config.teacher.path, precision=config.teacher.precision),
        tapped_blocks=config.discriminator.tapped_blocks,
        # The student's gradient passes through the judge, so the judge keeps activations too.
        activation_checkpointing=recompute,
    )
    student = SD3Denoiser(
        load_transformer(config.teacher.path, precision=config.student.precision), activation_checkpointing=recompute
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
