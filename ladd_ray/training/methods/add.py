"""ADD in the loop: which network learns when; the equations are in ``algorithm.add``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ladd_ray.algorithm import add, ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import Config
from ladd_ray.interfaces import Condition, Denoiser, Engine, LatentBatch, TrainableNetwork
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.pixel_features import PixelFeatures, load_features
from ladd_ray.training.methods.contract import StepReport
from ladd_ray.training.methods.teacher import frozen_teacher, leading_prompt
from ladd_ray.training.methods.turns import heads_in_turn
from ladd_ray.training.networks import new_student


@dataclass(frozen=True)
class AddMethod:
    """The student and the heads learn; decoder, image network and teacher are frozen."""

    config: Config
    student: TrainableNetwork
    heads: TrainableNetwork
    teacher: Denoiser | None
    """None without the distillation loss."""
    decode: add.Decode
    features: add.PixelReader
    negative_prompt: Condition | None
    """What a guided teacher leads away from; None without guidance."""

    @property
    def trainable(self) -> dict[str, TrainableNetwork]:
        """Those that learn, by their names in a checkpoint."""
        return {"student": self.student, "heads": self.heads}

    def step(self, batch: LatentBatch, *, step: int) -> StepReport:
        """Both turns: first the heads learn, then the student."""
        settings = self.config.discriminator
        drawn = ladd.draw(batch, self.config.noise, step=step, seed=self.config.run.seed)
        x0_pred = ladd.generate(self.student, batch, drawn=drawn)
        judged = add.judge(self.features, x0_pred, decode=self.decode, batch=batch, drawn=drawn)
        heads_turn = ladd.discriminator_loss(heads_in_turn(self.heads, settings), judged, config=settings)
        heads_update = self.heads.update(heads_turn.loss)
        with self.heads.frozen() as frozen_heads:
            student_turn = add.student_loss(
                frozen_heads,
                judged,
                x0_pred,
                teacher=self.teacher,
                batch=batch,
                drawn=drawn,
                config=settings,
                distillation=self.config.distillation,
                negative_prompt=self.negative_prompt,
            )
            student_update = self.student.update(student_turn.loss)
        return StepReport(
            {**heads_turn.metrics, **student_turn.metrics},
            {"student": student_update, "heads": heads_update},
            heads_turn.verdict,
        )


def build_add(config: Config, engine: Engine) -> AddMethod:
    """Student and teacher from the teacher's weights, heads from the run's seed: the same on every rank."""
    student = new_student(config)
    features = load_features(config.add.features, side=config.add.features_side)
    heads = new_heads(config, features, pooled_size=student.judged_prompt_size)
    autoencoder = Autoencoder.from_pretrained(
        config.teacher.path,
        precision=config.teacher.precision,
        device=engine.device,
        activation_checkpointing=config.add.recompute_decoder,
    )
    return AddMethod(
        config,
        student=engine.prepare(student, config.student),
        heads=engine.prepare(heads, config.discriminator),
        teacher=frozen_teacher(config, engine) if config.distillation.weight else None,
        decode=autoencoder.decode,
        features=engine.freeze(features, sharded=False),
        negative_prompt=leading_prompt(config, engine),
    )


def new_heads(config: Config, features: PixelFeatures, *, pooled_size: int) -> DiscriminatorHeads:
    """A head for each map of the image network, told the prompt and the picture and no noise level."""
    settings = config.discriminator
    torch.manual_seed(config.run.seed)
    return DiscriminatorHeads(
        features.map_sizes,
        pooled_size + features.embedding_size,
        num_blocks=len(features.map_sizes),
        width=settings.width,
        depth=settings.depth,
        kernel_size=settings.kernel_size,
        condition_on_sigma=False,
        condition_on_prompt=settings.condition_on_prompt,
    )
