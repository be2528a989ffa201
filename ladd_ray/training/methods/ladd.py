"""LADD in the loop: which network learns when; the equations are in ``algorithm.ladd``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ladd_ray.algorithm import ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.algorithm.distillation import configured_distillation
from ladd_ray.config import Config
from ladd_ray.interfaces import Condition, Denoiser, Engine, FeatureExtractor, LatentBatch, TrainableNetwork
from ladd_ray.training.methods.contract import StepReport
from ladd_ray.training.methods.teacher import frozen_teacher, leading_prompt
from ladd_ray.training.methods.turns import heads_in_turn
from ladd_ray.training.networks import frozen_features, load_teacher, new_student


@dataclass(frozen=True)
class LaddMethod:
    """The three players: the student and the heads learn, the features come from the frozen teacher."""

    config: Config
    student: TrainableNetwork
    heads: TrainableNetwork
    features: FeatureExtractor
    teacher: Denoiser | None = None
    """The whole teacher, only for the distillation loss."""
    negative_prompt: Condition | None = None
    """What a guided teacher leads away from."""

    @property
    def trainable(self) -> dict[str, TrainableNetwork]:
        """Those that learn, by their names in a checkpoint."""
        return {"student": self.student, "heads": self.heads}

    def student_learns(self, step: int) -> bool:
        """The heads learn in every step and the student in the last of each few, after heads that know it."""
        return (step + 1) % self.config.discriminator.steps_per_student_step == 0

    def step(self, batch: LatentBatch, *, step: int) -> StepReport:
        """First the heads' turn, then the student's where it is due."""
        settings = self.config.discriminator
        drawn = ladd.draw(batch, self.config.noise, step=step, seed=self.config.run.seed)
        learns = self.student_learns(step)
        shared = learns and settings.reuse == "full"
        with torch.set_grad_enabled(shared):
            x0_pred = ladd.generate(self.student if shared else self.student.module, batch, drawn=drawn)
            judged = ladd.judge(self.features, x0_pred, batch=batch, drawn=drawn, config=settings)
        turn = ladd.discriminator_loss(heads_in_turn(self.heads, settings), judged, config=settings)
        report = StepReport(turn.metrics, {"heads": self.heads.update(turn.loss)}, turn.verdict)
        if not learns:
            return report
        if not shared:
            x0_pred = ladd.generate(self.student, batch, drawn=drawn)
            judged = replace(judged, fake=ladd.judge_fake(self.features, x0_pred, batch=batch, drawn=drawn))
        return self._students_turn(judged, x0_pred, batch=batch, drawn=drawn, report=report)

    def _students_turn(
        self, judged: ladd.Judged, x0_pred: Tensor, *, batch: LatentBatch, drawn: ladd.Draw, report: StepReport
    ) -> StepReport:
        distillation = self._distillation(x0_pred, batch=batch, drawn=drawn)
        with self.heads.frozen() as heads:
            turn = ladd.student_loss(heads, judged, config=self.config.discriminator, distillation=distillation)
            update = self.student.update(turn.loss)
        metrics, updates = {**report.metrics, **turn.metrics}, {"student": update, **report.updates}
        return replace(report, metrics=metrics, updates=updates)

    def _distillation(self, x0_pred: Tensor, *, batch: LatentBatch, drawn: ladd.Draw) -> Tensor | None:
        """The weighted loss of every sample (b,), under the noise of the judge. [ours]"""
        if self.teacher is None:
            return None
        return configured_distillation(
            self.teacher,
            x0_pred,
            batch=batch,
            sigma=ladd.distillation_sigma(drawn, self.config.distillation),
            noise=drawn.fake_noise,
            config=self.config.distillation,
            negative_prompt=self.negative_prompt,
        )


def build_ladd(config: Config, engine: Engine) -> LaddMethod:
    """All networks from the teacher's weights, heads from the run's seed: the same on every rank.

    Judge, teacher and the base of adapters are one set of weights in memory, except that a sharded judge keeps its
    shards to itself.
    """
    base = load_teacher(config)
    student = new_student(config, teacher=base)
    torch.manual_seed(config.run.seed)
    heads = DiscriminatorHeads.from_config(
        config.discriminator,
        student.hidden_size,
        pooled_size=student.judged_prompt_size,
        num_blocks=student.num_blocks,
    )
    distillation = config.distillation
    features = frozen_features(config, engine, teacher=base, shared=bool(distillation.weight or config.lora.rank))
    own = None if config.teacher.sharded else base
    student_steps = config.run.steps // config.discriminator.steps_per_student_step
    return LaddMethod(
        config,
        student=engine.prepare(student, config.student, total_steps=student_steps),
        heads=engine.prepare(heads, config.discriminator),
        features=features,
        teacher=frozen_teacher(config, engine, transformer=own) if distillation.weight else None,
        negative_prompt=leading_prompt(config, engine),
    )
