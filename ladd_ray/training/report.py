"""Evaluates a finished run: draws teacher and student on held-out prompts, scores them, writes the pictures."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ladd_ray.config import Config
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.pictures import sample_grid, training_curves
from ladd_ray.evaluation.scores import diversity, kid, split_half_kid
from ladd_ray.tracking import LocalHistory, MlflowTracker
from ladd_ray.training.painting import Job, contenders, paint_all
from ladd_ray.training.preflight import Plan
from ladd_ray.training.run_folder import RunFolder

logger = logging.getLogger(__name__)

REFERENCE = "reference"
Pictures = Mapping[str, NDArray[np.uint8]]


def evaluate(plan: Plan, folder: RunFolder) -> None:
    """Write metrics.json, samples.png and curves.png into the run's folder, and to MLflow."""
    config = plan.config
    players = contenders(config)
    job = evaluation_job(config)
    pictures = paint_all(config, players, job, student=str(folder.export), shift=plan.provenance.shift)
    labels = {player.name: player.label for player in players if player.name != REFERENCE}
    shown = {label: pictures[name][: config.evaluation.num_sample_prompts] for name, label in labels.items()}
    sample_grid(shown, job.prompts[: config.evaluation.num_sample_prompts], folder.path / "samples.png")
    history = LocalHistory(folder.path / "metrics.jsonl").read()
    training_curves(history, folder.path / "curves.png", title=config.run.name)
    scores = score(pictures, config)
    document = {"protocol": protocol(config, plan, job), "labels": labels, **scores}
    partial = folder.metrics.with_suffix(".part")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(folder.metrics)
    _track(config, scores, folder)
    logger.info("\n%s\n", table(document))


def evaluation_job(config: Config) -> Job:
    """Held-out prompts, each once, then some with several seeds; a sample's number seeds its noise."""
    settings = config.evaluation
    prompts = read_prompts(config.data.heldout_prompts, settings.num_images, split="heldout", seed=settings.seed)
    repeated = [
        prompt for prompt in prompts[: settings.num_diversity_prompts] for _ in range(settings.num_diversity_seeds)
    ]
    ids = list(range(len(prompts) + len(repeated)))
    return Job(prompts=[*prompts, *repeated], sample_ids=ids)


def score(pictures: Pictures, config: Config) -> dict[str, Any]:
    """KID of every set to the reference, the reference's own floor, and diversity over seeds."""
    features = EffNetLite0Features()
    count = config.evaluation.num_images
    seeds = config.evaluation.num_diversity_seeds
    known = {name: features(images) for name, images in pictures.items()}
    reference = known.pop(REFERENCE)
    by_seed = {name: rows[count:].unflatten(0, (-1, seeds)) for name, rows in known.items()}
    teacher = diversity(by_seed["teacher_guided"])
    return {
        "kid_floor": split_half_kid(reference[:count]).to_dict(),
        "scores": {
            name: {
                "kid": kid(reference[:count], rows[:count]).to_dict(),
                "diversity": diversity(by_seed[name], teacher=teacher).to_dict(),
            }
            for name, rows in known.items()
        },
    }


def protocol(config: Config, plan: Plan, job: Job) -> dict[str, Any]:
    """How the scores were made. Scores with different hashes must not be compared."""
    facts = {
        "features": EffNetLite0Features.name,
        "evaluation": config.evaluation.model_dump(mode="json", exclude={"batch_size"}),
        "prompts": prompts_fingerprint(job.prompts),
        "teacher": plan.teacher,
        "reference": f"{config.data.num_inference_steps} steps at guidance {config.data.guidance_scale:g}, "
        f"shift {plan.provenance.shift:g}",
        "size": [config.data.height, config.data.width],
        "noise_levels": config.noise.levels,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return {**facts, "hash": digest}


def table(document: Mapping[str, Any]) -> str:
    """The scores as a Markdown table."""
    floor, labels = document["kid_floor"], document["labels"]
    rows = [
        f"| {labels[name]} | {entry['kid']['value']:.4f} | {entry['diversity']['value']:.4f} "
        f"| {entry['diversity']['relative_to_teacher']:.2f} |"
        for name, entry in document["scores"].items()
    ]
    count = document["protocol"]["evaluation"]["num_images"]
    head = [
        f"KID-EffNetLite0 to {count} guided teacher images (the reference's own halves: "
        f"{floor['mean']:.4f} +- {floor['std']:.4f})",
        "",
        "| sampler | KID | diversity | of the teacher's |",
        "|---|---|---|---|",
    ]
    return "\n".join(head + rows)


def _track(config: Config, scores: Mapping[str, Any], folder: RunFolder) -> None:
    tracker = MlflowTracker(config, step=config.run.steps)
    values = {
        f"evaluation/{name}/{kind}": entry[kind]["value"]
        for name, entry in scores["scores"].items()
        for kind in ("kid", "diversity")
    }
    tracker.log_metrics(values, config.run.steps)
    tracker.log_artifacts([folder.path / name for name in ("samples.png", "curves.png", "metrics.json", "config.json")])
    tracker.finish()
