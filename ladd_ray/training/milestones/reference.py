"""What milestones compare with: pictures of the held-out prompts by the guided teacher, drawn once for all runs.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; d features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ladd_ray.config import Config
from ladd_ray.data import stickers
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.data.provenance import Facts
from ladd_ray.data_sections import EMBEDDED
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.metrics import Asked
from ladd_ray.training.knobs import teacher_strengths
from ladd_ray.training.painting import Contender, Crew, Sample, paint_all
from ladd_ray.training.preflight import Plan
from ladd_ray.training.shards import make_once

FILE = "features.npy"
NAME = "reference"


@dataclass(frozen=True)
class ReferenceFacts(Facts):
    """Everything that shapes the teacher's pictures."""

    teacher: str
    prompts: str
    num_images: int
    seed: int
    num_inference_steps: int
    guidance_scale: float
    shift: float
    size: str
    precision: str
    features: str = EffNetLite0Features.name


def asked(config: Config) -> Asked:
    """The held-out prompts, with their facts where the embedded world knows them."""
    count, seed = config.milestones.num_images, config.evaluation.seed
    source = config.data.heldout_prompts
    if source != EMBEDDED:
        return Asked(tuple(read_prompts(source, count, split="heldout", seed=seed)))
    size = {"height": config.data.height, "width": config.data.width}
    scenes = tuple(stickers.scene(seed, number, split="heldout", **size) for number in range(count))
    return Asked(tuple(scene.caption for scene in scenes), scenes)


def reference_facts(plan: Plan) -> ReferenceFacts:
    """Of the pictures that a run is compared with."""
    config = plan.config
    return ReferenceFacts(
        teacher=plan.teacher,
        prompts=prompts_fingerprint(asked(config).prompts),
        num_images=config.milestones.num_images,
        seed=_contender(plan).seed,
        num_inference_steps=config.data.num_inference_steps,
        guidance_scale=teacher_strengths(config).text,
        shift=plan.provenance.shift,
        size=f"{config.data.height}x{config.data.width}",
        precision=config.teacher.precision,
    )


def ensure_reference(plan: Plan) -> Path:
    """The folder of the reference; drawn now if it is not there. Wants the cluster of the run.

    Raises:
        ValueError: ``milestones.reference`` was made in another way.
    """
    config, facts = plan.config, reference_facts(plan)
    shared = Path(config.run.directory) / "references" / facts.key
    folder = Path(config.milestones.reference or shared)
    return make_once(folder, facts, partial(_draw, plan), setting="milestones.reference")


def read_reference(folder: Path) -> Tensor:
    """Features (n, d) of the teacher's pictures."""
    return torch.from_numpy(np.load(folder / FILE))


def _draw(plan: Plan, folder: Path) -> None:
    config = plan.config
    size = config.data.height, config.data.width
    samples = [Sample(number, prompt, *size) for number, prompt in enumerate(asked(config).prompts)]
    pictures = paint_all([_contender(plan)], samples, crew=_crew(config))[NAME]
    np.save(folder / FILE, EffNetLite0Features()(pictures).numpy())


def _contender(plan: Plan) -> Contender:
    """The guided teacher, from other noise than the student's."""
    config = plan.config
    return Contender(
        name=NAME,
        label=NAME,
        model=config.teacher.path,
        seed=config.evaluation.seed + 1,
        num_inference_steps=config.data.num_inference_steps,
        guidance_scale=teacher_strengths(config).text,
        shift=plan.provenance.shift,
    )


def _crew(config: Config) -> Crew:
    run = config.run
    return Crew(
        run.num_workers, run.device, run.threads_per_worker, config.teacher.precision, config.evaluation.batch_size
    )
