"""The rows of an evaluation: sets of pictures, each with every score that applies to it.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; d features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ladd_ray.data import stickers
from ladd_ray.evaluation.clip import ClipScorer
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.metrics import (
    Asked,
    DistanceScorer,
    DiversityScorer,
    Features,
    JudgeScorer,
    Pictures,
    Scorer,
    by_size,
    features_of,
)
from ladd_ray.evaluation.scores import split_half_kid
from ladd_ray.models.autoencoder import Autoencoder, to_uint8
from ladd_ray.models.judge import Judge
from ladd_ray.training.evaluation.plan import EvaluationPlan, clip_weights, judge_folder
from ladd_ray.training.evaluation.references import reference_pictures
from ladd_ray.training.painting import Contender, paint

DECODED_AT_ONCE = 32


@dataclass(frozen=True)
class Row:
    """A set of pictures in the table."""

    label: str
    scores: Mapping[str, Any]
    shown: Pictures
    """The first pictures; none where a row has no pictures of its own."""


@dataclass(frozen=True)
class Scorers:
    """All measures of an evaluation, by what they look at, and the networks behind them."""

    features: Features
    judge: Judge | None

    of_sets: Sequence[Scorer]
    """Pictures against the reference."""
    of_prompts: Sequence[Scorer]
    """Pictures against what they were asked to show."""
    of_seeds: Sequence[Scorer]
    """Pictures of one prompt against each other."""
    kid_floor: Mapping[str, Any] | None
    """The reference's distance from itself."""


def load_scorers(plan: EvaluationPlan) -> Scorers:
    """Load every network that scores, and look at the reference."""
    config, wanted = plan.config, plan.config.chosen_scores
    features = EffNetLite0Features()
    reference = _reference_features(plan, features)
    distances = {"kid", "fid", "precision_recall"}.intersection(wanted)
    judge = Judge.from_pretrained(judge_folder(config)) if "judge" in wanted else None
    of_prompts: list[Scorer] = [] if judge is None else [JudgeScorer(judge)]
    if "clip" in wanted:
        of_prompts.append(ClipScorer(config.clip.model, clip_weights(config)))
    return Scorers(
        features=features,
        judge=judge,
        of_sets=[] if reference is None else [DistanceScorer(reference, features, wanted=distances)],
        of_prompts=of_prompts,
        of_seeds=[DiversityScorer(features, config.diversity.num_seeds)] if "diversity" in wanted else [],
        kid_floor=None if reference is None else split_half_kid(reference).to_dict(),
    )


def score_rows(plan: EvaluationPlan, scorers: Scorers) -> dict[str, Row]:
    """Every row by its name, in the order of the table: what is real, the models, and the controls."""
    rows = dict(_real_rows(plan, scorers))
    for contender, pictures in paint(plan.contenders, plan.samples, crew=plan.crew):
        rows.update(_drawn_rows(plan, scorers, contender=contender, pictures=pictures))
    order = ["real", "reconstruction", *(contender.name for contender in plan.contenders), "shuffled_prompts"]
    return {name: rows[name] for name in order if name in rows}


def _real_rows(plan: EvaluationPlan, scorers: Scorers) -> Iterator[tuple[str, Row]]:
    """Pictures that show their prompts exactly, and the best that the first model's decoder could make of them."""
    if plan.asked.scenes is None:
        return
    real = [stickers.render(scene) for scene in plan.asked.scenes]
    yield "real", _row("real pictures", real, plan=plan, scorers=scorers)
    decoded = reconstructed(real, plan.candidates[0].path)
    yield "reconstruction", _row("real, through the autoencoder", decoded, plan=plan, scorers=scorers)


def _drawn_rows(
    plan: EvaluationPlan, scorers: Scorers, *, contender: Contender, pictures: Pictures
) -> Iterator[tuple[str, Row]]:
    once, repeated = pictures[: plan.config.num_images], pictures[plan.config.num_images :]
    row = _row(contender.label, once, plan=plan, scorers=scorers)
    variety = _scores(scorers.of_seeds, repeated, plan.asked)
    yield contender.name, Row(row.label, {**row.scores, **variety}, row.shown)
    if contender == plan.main and scorers.of_prompts:
        by_chance = _scores(scorers.of_prompts, once, plan.asked.shuffled())
        yield "shuffled_prompts", Row(f"{contender.label}, shuffled prompts", by_chance, shown=())


def _row(label: str, pictures: Pictures, *, plan: EvaluationPlan, scorers: Scorers) -> Row:
    scores = _scores([*scorers.of_sets, *scorers.of_prompts], pictures, plan.asked)
    return Row(label, scores, shown=pictures[: plan.config.num_sample_prompts])


def _scores(scorers: Sequence[Scorer], pictures: Pictures, asked: Asked) -> dict[str, Any]:
    return {name: score for scorer in scorers for name, score in scorer(pictures, asked).items()}


def _reference_features(plan: EvaluationPlan, features: EffNetLite0Features) -> Tensor | None:
    """Features (n, d)."""
    if plan.reference is None:
        return None
    samples = plan.samples[: plan.config.num_images]
    parts = reference_pictures(plan.reference, samples, crew=plan.crew)
    return torch.cat([features_of(part, features) for part in parts])


@torch.inference_mode()
def reconstructed(pictures: Pictures, model: Path | str) -> Pictures:
    """Pictures as they come back from a model's autoencoder."""
    autoencoder = Autoencoder.from_pretrained(model, precision="fp32", device="cpu")

    def through(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        batches = rearrange(torch.from_numpy(images), "n h w c -> n c h w").split(DECODED_AT_ONCE)
        decoded = [to_uint8(autoencoder.decode(autoencoder.encode(batch / 127.5 - 1))) for batch in batches]
        return torch.cat(decoded).numpy()

    return by_size(pictures, through)
