"""Consistency distillation in the loop; the equations are in ``algorithm.lcm``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ladd_ray.algorithm import lcm
from ladd_ray.config import Config
from ladd_ray.interfaces import Condition, Denoiser, Engine, LatentBatch, TrainableNetwork
from ladd_ray.training.methods.contract import StepReport
from ladd_ray.training.methods.teacher import empty_prompt, frozen_teacher
from ladd_ray.training.networks import new_student


@dataclass(frozen=True)
class LcmMethod:
    """The student learns; its moving average and the frozen teacher make its targets."""

    config: Config
    student: TrainableNetwork
    teacher: Denoiser
    negative_prompt: Condition

    @property
    def trainable(self) -> dict[str, TrainableNetwork]:
        """The student alone."""
        return {"student": self.student}

    def step(self, batch: LatentBatch, *, step: int) -> StepReport:  # noqa: ARG002  nothing here depends on progress
        """One turn of the student."""
        drawn = lcm.draw(batch, self.config.lcm, seed=self.config.run.seed)
        x_sigma = lcm.student_input(batch, drawn)
        x_next = lcm.teacher_step(
            self.teacher, x_sigma, condition=batch.prompt, drawn=drawn, negative_prompt=self.negative_prompt
        )
        condition = lcm.student_condition(batch.prompt, drawn)
        # Before the student's own forward: its graph must not meet weights that changed in between. Swapping copies
        # the weights three times, which is small beside six forwards and needs no second sharded network.
        with self.student.ema_weights() as average, torch.no_grad():
            target = lcm.consistency(average, x_next, sigma=drawn.next_sigma, condition=condition)
        predicted = lcm.consistency(self.student, x_sigma, sigma=drawn.sigma, condition=condition)
        turn = lcm.consistency_loss(predicted, target, config=self.config.lcm)
        return StepReport(turn.metrics, {"student": self.student.update(turn.loss)})


def build_lcm(config: Config, engine: Engine) -> LcmMethod:
    """Student and teacher from the teacher's weights: the same on every rank."""
    return LcmMethod(
        config,
        student=engine.prepare(new_student(config), config.student),
        teacher=frozen_teacher(config, engine),
        negative_prompt=empty_prompt(config, engine),
    )
