"""Evaluates a finished run: draws teacher and student on held-out prompts, scores them, writes the pictures.

A student of several tasks edits and fills held-out exercises too, and one with guidance knobs has them turned.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ladd_ray.config import Config
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.pictures import sample_grid, training_curves
from ladd_ray.evaluation.protocol import with_hash
from ladd_ray.evaluation.scores import diversity, kid, split_half_kid
from ladd_ray.evaluation.table import markdown_table
from ladd_ray.models.judge import Judge
from ladd_ray.tracking import LocalHistory, MlflowTracker
from ladd_ray.training.knob_report import Turning, knob_lines, score_knobs, shortened
from ladd_ray.training.knobs import guidance_knobs, teacher_strengths
from ladd_ray.training.painting import Contender, Crew, Sample, paint_all, with_repeats
from ladd_ray.training.preflight import Plan
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.task_report import SHEETS, Examiner, find_trials, score_trial, task_tables

logger = logging.getLogger(__name__)

REFERENCE, TEACHER = "reference", "teacher_guided"
HEAD = ("sampler", "KID", "diversity", "of the teacher's")
Pictures = Mapping[str, NDArray[np.uint8]]


def evaluate(plan: Plan, folder: RunFolder) -> None:
    """Write metrics.json, samples.png, curves.png and sheets of further tasks into the run's folder, and to MLflow.

    Args:
        plan: Of the run.
        folder: Where its export lies.
    """
    config = plan.config
    players = contenders(config, student=str(folder.export), shift=plan.provenance.shift)
    samples = evaluation_samples(config)
    pictures = paint_all(players, samples, crew=crew(config))
    labels = {player.name: player.label for player in players if player.name != REFERENCE}
    shown = {label: pictures[name][: config.evaluation.num_sample_prompts] for name, label in labels.items()}
    captions = [sample.prompt for sample in samples[: config.evaluation.num_sample_prompts]]
    sample_grid(shown, captions, folder.path / "samples.png")
    history = LocalHistory(folder.path / "metrics.jsonl").read()
    training_curves(history, folder.path / "curves.png", title=config.run.name)
    scores = {**score(pictures, config), **further_scores(config, players, folder)}
    document = {"protocol": protocol(config, plan, samples), "labels": labels, **scores}
    partial = folder.metrics.with_suffix(".part")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(folder.metrics)
    _track(config, scores, folder)
    logger.info("\n%s\n", table(document))


def contenders(config: Config, *, student: str, shift: float) -> list[Contender]:
    """The reference, the teacher, the untrained student, and the student at every number of steps.

    Args:
        config: The run's.
        student: Folder of the export.
        shift: Timestep shift of the teacher's sampler.
    """
    teacher, seed, levels = config.teacher.path, config.evaluation.seed, config.noise.levels
    steps, guidance = config.data.num_inference_steps, teacher_strengths(config).text
    most = max(config.evaluation.student_steps)
    name = f"teacher, {steps} steps, guidance {guidance:g}"
    unguided = f"teacher, {most} steps, unguided (Euler)"
    fixed = [
        # Other noise than everybody else's.
        Contender(REFERENCE, "reference", teacher, seed + 1, steps, guidance, shift),
        Contender(TEACHER, name, teacher, seed, steps, guidance, shift),
        Contender(f"teacher_unguided_{most}", unguided, teacher, seed, most, 1.0, shift),
        Contender(f"untrained_student_{most}", f"untrained student, {most} steps", teacher, seed, most, levels=levels),
    ]
    students = [
        Contender(
            f"student_{count}", f"student, {count} step{'s' if count > 1 else ''}", student, seed, count, levels=levels
        )
        for count in config.evaluation.student_steps
    ]
    return [*fixed, *students]


def further_scores(config: Config, players: Sequence[Contender], folder: RunFolder) -> dict[str, Any]:
    """Scores of editing, inpainting and knobs, as far as the student learned them; draws their sheets.

    Args:
        config: The run's.
        players: See ``contenders``.
        folder: Of the run.
    """
    able = [player for player in players if player.name == TEACHER or player.guidance_scale is None]
    trials = find_trials(config, able)
    if not trials:
        return {"tasks": {}}
    examiner = Examiner(crew(config), Judge.from_pretrained(), EffNetLite0Features())
    columns = config.evaluation.num_sample_prompts
    tasks = {
        trial.task: score_trial(trial, examiner=examiner, sheet=folder.path / SHEETS[trial.task], columns=columns)
        for trial in trials
    }
    knobs, edits = guidance_knobs(config), next((trial for trial in trials if trial.task == "edit"), None)
    if knobs is None or edits is None:
        return {"tasks": tasks}
    by_name = {player.name: player for player in able}
    student = by_name[f"student_{max(config.evaluation.student_steps)}"]
    turning = Turning(student, by_name[TEACHER], knobs, config.evaluation.num_knob_settings)
    edits = shortened(edits, config.evaluation.num_knob_edits)
    return {"tasks": tasks, "knobs": score_knobs(edits, turning, examiner=examiner)}


def crew(config: Config) -> Crew:
    """Who draws: the workers that trained."""
    return Crew(
        num_workers=config.run.num_workers,
        device=config.run.device,
        threads=config.run.threads_per_worker,
        precision=config.teacher.precision,
        batch_size=config.evaluation.batch_size,
    )


def evaluation_samples(config: Config) -> list[Sample]:
    """Held-out prompts, each once, then some with several seeds; a sample's number seeds its noise."""
    settings = config.evaluation
    prompts = read_prompts(config.data.heldout_prompts, settings.num_images, split="heldout", seed=settings.seed)
    drawn = with_repeats(prompts, count=settings.num_diversity_prompts, times=settings.num_diversity_seeds)
    height, width = config.data.height, config.data.width
    return [Sample(number, prompt, height, width) for number, prompt in enumerate(drawn)]


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


def protocol(config: Config, plan: Plan, samples: Sequence[Sample]) -> dict[str, Any]:
    """How the scores were made. Scores with different hashes must not be compared."""
    return with_hash(
        {
            "features": EffNetLite0Features.name,
            "evaluation": config.evaluation.model_dump(mode="json", exclude={"batch_size"}),
            "prompts": prompts_fingerprint([sample.prompt for sample in samples]),
            "teacher": plan.teacher,
            "reference": f"{config.data.num_inference_steps} steps at guidance {teacher_strengths(config).text:g}, "
            f"shift {plan.provenance.shift:g}",
            "size": [config.data.height, config.data.width],
            "noise_levels": config.noise.levels,
        }
    )


def table(document: Mapping[str, Any]) -> str:
    """The scores as Markdown tables, one for each task."""
    floor, labels = document["kid_floor"], document["labels"]
    rows = [
        [
            labels[name],
            f"{entry['kid']['value']:.4f}",
            f"{entry['diversity']['value']:.4f}",
            f"{entry['diversity']['relative_to_teacher']:.2f}",
        ]
        for name, entry in document["scores"].items()
    ]
    count = document["protocol"]["evaluation"]["num_images"]
    note = (
        f"KID-EffNetLite0 to {count} guided teacher images (the reference's own halves: "
        f"{floor['mean']:.4f} +- {floor['std']:.4f})"
    )
    further = [*task_tables(document), *knob_lines(document)]
    return "\n\n".join([note, markdown_table(HEAD, rows), *further])


def _track(config: Config, scores: Mapping[str, Any], folder: RunFolder) -> None:
    tracker = MlflowTracker(config, step=config.run.steps)
    values = {
        f"evaluation/{name}/{kind}": entry[kind]["value"]
        for name, entry in scores["scores"].items()
        for kind in ("kid", "diversity")
    }
    for task, results in scores["tasks"].items():
        values |= {
            f"evaluation/{name}/{task}": entry[task]["success"]["value"] for name, entry in results["scores"].items()
        }
    for name, entry in scores.get("knobs", {}).items():
        values |= {f"evaluation/knobs/{name}": entry["student_correlation"]}
    tracker.log_metrics(values, config.run.steps)
    files = ["samples.png", "curves.png", *(SHEETS[task] for task in scores["tasks"]), "metrics.json", "config.json"]
    tracker.log_artifacts([folder.path / name for name in files])
    tracker.finish()
