"""The frozen teacher as a flow network, and the prompt that its guidance leads away from."""

from __future__ import annotations

import torch

from ladd_ray.algorithm.distillation import wants_guidance
from ladd_ray.config import Config
from ladd_ray.interfaces import Condition, Denoiser, Engine
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.training.networks import Transformer, load_teacher


def frozen_teacher(config: Config, engine: Engine, *, transformer: Transformer | None = None) -> Denoiser:
    """The whole teacher, for methods that ask it for velocities.

    Args:
        config: of the run.
        engine: where it goes.
        transformer: weights to share with the judge; without them the teacher loads its own.
    """
    teacher = SD3Denoiser(load_teacher(config) if transformer is None else transformer)
    frozen = engine.freeze(teacher, sharded=config.teacher.sharded)
    return torch.compile(frozen) if config.run.compile_teacher else frozen


def leading_prompt(config: Config, engine: Engine) -> Condition | None:
    """What the teacher of the distillation loss leads away from; None where it is not guided. Collective."""
    guided = wants_guidance(config.distillation, knobs=config.student.guidance_knobs)
    return empty_prompt(config, engine) if guided else None


def empty_prompt(config: Config, engine: Engine) -> Condition:
    """One row that asks for nothing, fp32, on the device of the engine; collective.

    Rank 0 alone loads the text towers, which can be larger than the transformer, and lets them go again.
    """
    encoded = None
    if engine.rank == 0:
        encoder = PromptEncoder.from_pretrained(
            config.teacher.path, precision=config.teacher.precision, device=engine.device
        )
        encoded = encoder.encode([""]).to("cpu", torch.float32)
    found: Condition = engine.gather_objects(encoded)[0]
    return found.to(engine.device)
