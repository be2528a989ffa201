"""Scores of everybody in a comparison, under one protocol; each is computed once and kept in a file.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ladd_ray.compare_config import CompareConfig
from ladd_ray.evaluate_config import EvaluateConfig, StudentSampling, TeacherSampling, WorkSection
from ladd_ray.evaluation.comparison import Scores
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.metrics import DistanceScorer, DiversityScorer, JudgeScorer, Pictures, features_of
from ladd_ray.evaluation.protocol import HASH, with_hash
from ladd_ray.evaluation.scores import KidFloor, split_half_kid
from ladd_ray.models.judge import Judge
from ladd_ray.training.cluster import cluster
from ladd_ray.training.comparison.plan import ComparisonPlan, write_json
from ladd_ray.training.evaluation.candidates import Candidate
from ladd_ray.training.evaluation.plan import EvaluationPlan, prepare_evaluation
from ladd_ray.training.evaluation.references import RealReference, Reference, reference_pictures
from ladd_ray.training.painting import Contender, paint

FOLDER = "scores"


@dataclass(frozen=True)
class Entrant:
    """Somebody to score."""

    contender: Contender
    fingerprint: str
    """Of the model."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What came out."""

    scores: Scores
    shown: Pictures
    """The first pictures (n, h, w, 3)."""


@dataclass(frozen=True)
class Hall:
    """The protocol of a comparison, and where its scores are kept."""

    plan: EvaluationPlan
    real: RealReference
    protocol: dict[str, Any]
    """Facts and hash."""
    folder: Path

    def place(self, entrant: Entrant) -> Path:
        """Its scores; its first pictures lie beside them."""
        return self.folder / f"{entrant.contender.name}.json"

    def find(self, entrant: Entrant) -> Scored | None:
        """Scores of the same model under the same protocol, if they were made before."""
        place = self.place(entrant)
        if not place.is_file():
            return None
        document = json.loads(place.read_text())
        if document["fingerprint"] != entrant.fingerprint:
            return None
        with Image.open(place.with_suffix(".png")) as strip:
            height, width = self.plan.config.sizes[0]
            cells = np.asarray(strip).reshape(height, -1, width, 3)
        return Scored(Scores(**document["scores"]), list(cells.transpose(1, 0, 2, 3)))

    def keep(self, entrant: Entrant, measured: Scores, pictures: Pictures) -> None:
        """The scores last: their presence means that the pictures are theirs."""
        place = self.place(entrant)
        place.parent.mkdir(parents=True, exist_ok=True)
        shown = pictures[: self.plan.config.num_sample_prompts]
        Image.fromarray(np.concatenate(shown, axis=1)).save(place.with_suffix(".png"))
        write_json(place, {"fingerprint": entrant.fingerprint, "scores": asdict(measured)})


@dataclass(frozen=True)
class Measures:
    """All scorers, with their references loaded."""

    distance: DistanceScorer
    distance_to_real: DistanceScorer
    judge: JudgeScorer
    diversity: DiversityScorer
    kid_floor: KidFloor

    def __call__(self, pictures: Pictures, plan: EvaluationPlan) -> Scores:
        """Scores of all pictures of a contender."""
        once, repeated = pictures[: plan.config.num_images], pictures[plan.config.num_images :]
        return Scores.of(
            {
                **self.distance(once, plan.asked),
                "kid_real": self.distance_to_real(once, plan.asked)["kid"],
                **self.judge(once, plan.asked),
                **self.diversity(repeated, plan.asked),
            }
        )


def open_hall(comparison: ComparisonPlan, models: Sequence[str]) -> Hall:
    """The protocol by which exported students are scored beside their teacher.

    Args:
        comparison: The plan.
        models: Folders of the students' exports.

    Raises:
        ValueError: A model cannot draw as asked.
    """
    config = comparison.config
    plan = prepare_evaluation(_evaluation(comparison, models))
    real = RealReference(config.evaluation_seed, start=config.num_images)
    facts = {key: value for key, value in plan.protocol.items() if key != HASH}
    protocol = with_hash({**facts, "real": real.description})
    return Hall(plan, real, protocol, comparison.folder / FOLDER / protocol[HASH])


def score_all(hall: Hall, entrants: Sequence[Entrant], config: CompareConfig) -> tuple[dict[str, Scored], KidFloor]:
    """Everybody's scores by the name of the contender, and how far the teacher is from itself."""
    missing = {one.contender: one for one in entrants if hall.find(one) is None}
    with cluster(config) if config.run.num_workers and missing else nullcontext():
        measures = _load_measures(hall)
        drawn = paint(list(missing), hall.plan.samples, crew=hall.plan.crew) if missing else ()
        for contender, pictures in drawn:
            hall.keep(missing[contender], measures(pictures, hall.plan), pictures)
    return dict(_found(hall, entrants)), measures.kid_floor


def few_step_teachers(teacher: Candidate, config: EvaluateConfig, levels: tuple[float, ...]) -> Iterator[Contender]:
    """What the students began as: their teacher in as few steps, by its own sampler and by theirs."""
    for count in config.student.steps:
        plain = Contender(
            name=f"euler_{count}",
            label="teacher, unguided (Euler)",
            model=teacher.path,
            seed=config.seed,
            num_inference_steps=count,
            guidance_scale=1.0,
            shift=teacher.shift,
        )
        yield plain
        yield replace(plain, name=f"begun_{count}", label="untrained student", guidance_scale=None, levels=levels)


def _found(hall: Hall, entrants: Sequence[Entrant]) -> Iterator[tuple[str, Scored]]:
    for entrant in entrants:
        scored = hall.find(entrant)
        assert scored is not None, "just kept"
        yield entrant.contender.name, scored


def _evaluation(comparison: ComparisonPlan, models: Sequence[str]) -> EvaluateConfig:
    config, standard = comparison.config, comparison.standard
    teacher, data = standard.teacher.path, standard.data
    return EvaluateConfig(
        models=(teacher, *models),
        roles=("teacher", *["student"] * len(models)),
        reference=teacher,
        scores=("kid", "judge", "diversity"),
        num_images=config.num_images,
        seed=config.evaluation_seed,
        sizes=((data.height, data.width),),
        num_edits=0,
        num_inpaints=0,
        num_sample_prompts=config.num_sample_prompts,
        output=str(comparison.folder / FOLDER),
        student=StudentSampling(steps=config.student_steps),
        teacher=TeacherSampling(
            num_inference_steps=data.num_inference_steps, guidance_scale=data.guidance_scale, shift=data.shift
        ),
        diversity=config.diversity,
        run=WorkSection(**config.run.model_dump(include=set(WorkSection.model_fields))),
    )


def _load_measures(hall: Hall) -> Measures:
    plan, features = hall.plan, EffNetLite0Features()
    assert plan.reference is not None, "the teacher"
    ours = features_of(_reference(plan.reference, hall, name="teacher"), features)
    real = features_of(_reference(hall.real, hall, name="real"), features)
    return Measures(
        distance=DistanceScorer(ours, features, wanted=("kid",)),
        distance_to_real=DistanceScorer(real, features, wanted=("kid",)),
        judge=JudgeScorer(Judge.from_pretrained()),
        diversity=DiversityScorer(features, plan.config.diversity.num_seeds),
        kid_floor=split_half_kid(ours),
    )


def _reference(reference: Reference, hall: Hall, *, name: str) -> Pictures:
    """Its pictures, which are drawn once."""
    file = hall.folder / f"reference-{name}.npy"
    if not file.is_file():
        parts = reference_pictures(reference, hall.plan.samples[: hall.plan.config.num_images], crew=hall.plan.crew)
        pictures = np.stack([picture for part in parts for picture in part])
        hall.folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part")
        with partial.open("wb") as stream:
            np.save(stream, pictures)
        partial.replace(file)
    stored: NDArray[np.uint8] = np.load(file)
    return list(stored)
