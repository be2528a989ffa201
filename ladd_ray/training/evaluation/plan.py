"""Everything about an evaluation that can be known before anything is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ladd_ray.config import RunConfig
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.evaluate_config import EvaluateConfig, WorkSection
from ladd_ray.evaluation.clip import clip_label, require_clip
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.metrics import Asked
from ladd_ray.evaluation.protocol import EvaluationProtocol, require_same_protocol
from ladd_ray.evaluation.table import task_results
from ladd_ray.models.judge import assets_folder
from ladd_ray.training.evaluation.candidates import Candidate, contenders_of, find_candidates, untrained
from ladd_ray.training.evaluation.references import Reference, find_reference, heldout_scenes
from ladd_ray.training.evaluation.trials import Trial, TrialTask, find_trials
from ladd_ray.training.painting import Contender, Crew, Sample, with_repeats
from ladd_ray.training.preflight import absolute_directory

RESULTS, TABLE, SAMPLES = "results.json", "table.md", "samples.png"
SHEETS: Mapping[TrialTask, str] = MappingProxyType({"edit": "edits.png", "inpaint": "fills.png"})
"""The first pictures of each task but generating."""


@dataclass(frozen=True)
class EvaluationPlan:
    """A checked evaluation."""

    config: EvaluateConfig
    candidates: tuple[Candidate, ...]
    reference: Reference | None
    samples: tuple[Sample, ...]
    """All pictures that a contender draws: each prompt once, then some several times."""
    asked: Asked
    """What the first ones should show."""
    trials: tuple[Trial, ...]
    """Editing and inpainting, where a model does."""
    protocol: dict[str, Any]
    """Facts and hash."""
    output: Path
    earlier: dict[str, dict[str, Any]]
    """Name of an earlier evaluation to its results, which go into the table too."""

    @property
    def contenders(self) -> list[Contender]:
        """The models in all their ways to draw, the first model's last one first without training."""
        drawing = [contender for one in self.candidates for contender in contenders_of(one, self.config)]
        return [*drawing, untrained(self.main)]

    @property
    def main(self) -> Contender:
        """The first model at its most steps: the rows of control are made like it."""
        return list(contenders_of(self.candidates[0], self.config))[-1]

    @property
    def crew(self) -> Crew:
        """Who draws."""
        return crew_of(self.config.run)

    def describe(self) -> str:
        """What would run, for people."""
        config, run = self.config, self.config.run
        where = f"{run.num_workers} x {run.device}" if run.num_workers else "this process"
        reference = "nothing" if self.reference is None else self.reference.description
        return "\n".join(
            [
                *(f"draw       {contender.label} ({contender.model})" for contender in self.contenders),
                f"pictures   {len(self.samples)} each on {where}: {config.num_images} for the scores, the rest for "
                "diversity",
                *(f"{trial.title.lower():<10} {trial.description}" for trial in self.trials),
                f"compare    to {reference}",
                f"scores     {', '.join(config.chosen_scores)}",
                f"protocol   {self.protocol['hash']}",
                f"output     {self.output}",
            ]
        )


def crew_of(run: WorkSection) -> Crew:
    """Who draws."""
    return Crew(run.num_workers, run.device, run.threads_per_worker, run.precision, run.batch_size)


def prepare_evaluation(config: EvaluateConfig, *, fetch: bool = True) -> EvaluationPlan:
    """Check the whole configuration against the world.

    Args:
        config: As the user gave it.
        fetch: Models on the hub are downloaded, since their weights name them; without it, their names stand in.

    Raises:
        ValueError: With the fix in the message.
    """
    candidates = find_candidates(config, fetch=fetch)
    reference = find_reference(config, fetch=fetch)
    asked = _asked(config)
    samples = _samples(asked.prompts, config)
    judge = _judge_fingerprint(config) if "judge" in config.chosen_scores else None
    trials = () if judge is None else find_trials(config, candidates, judge=judge)
    protocol = _protocol(config, samples, reference=reference, judge=judge).to_dict()
    output = Path(absolute_directory(RunConfig(directory=config.output)))
    earlier = {folder: _earlier(folder) for folder in config.compare_with}
    before = {str(output): _earlier(str(output))} if (output / RESULTS).exists() else {}
    for folder, results in {**before, **earlier}.items():
        require_same_protocol(protocol, results["protocol"], where=folder)
        _require_same_trials(trials, results, where=folder)
    return EvaluationPlan(config, tuple(candidates), reference, samples, asked, trials, protocol, output, earlier)


def _require_same_trials(trials: Sequence[Trial], results: Mapping[str, Any], *, where: str) -> None:
    theirs = task_results(results)
    for trial in trials:
        if trial.task in theirs:
            require_same_protocol(trial.protocol, theirs[trial.task]["protocol"], where=f"{trial.title} in {where}")


def _asked(config: EvaluateConfig) -> Asked:
    if config.in_embedded_world:
        scenes = heldout_scenes(config.seed, 0, sizes=_sizes(config, config.num_images))
        return Asked(tuple(scene.caption for scene in scenes), tuple(scenes))
    return Asked(tuple(read_prompts(config.prompts, config.num_images, split="heldout", seed=config.seed)))


def _samples(prompts: Sequence[str], config: EvaluateConfig) -> tuple[Sample, ...]:
    # A prompt keeps its size when it is drawn again: another size would be taken for variety.
    drawn = list(zip(prompts, _sizes(config, len(prompts)), strict=True))
    if "diversity" in config.chosen_scores:
        drawn = with_repeats(drawn, count=config.diversity.num_prompts, times=config.diversity.num_seeds)
    return tuple(Sample(number, prompt, *size) for number, (prompt, size) in enumerate(drawn))


def _sizes(config: EvaluateConfig, count: int) -> list[tuple[int, int]]:
    return list(islice(cycle(config.sizes), count))


def _protocol(
    config: EvaluateConfig, samples: Sequence[Sample], *, reference: Reference | None, judge: str | None
) -> EvaluationProtocol:
    return EvaluationProtocol(
        num_images=config.num_images,
        sizes=config.sizes,
        prompts=prompts_fingerprint([sample.prompt for sample in samples]),
        seed=config.seed,
        num_diversity_prompts=config.diversity.num_prompts,
        num_diversity_seeds=config.diversity.num_seeds,
        student_steps=config.student.steps,
        teacher_steps=config.teacher.num_inference_steps,
        teacher_guidance=config.teacher.guidance_scale,
        teacher_shift=config.teacher.shift,
        features=EffNetLite0Features.name,
        reference=None if reference is None else reference.description,
        judge=judge,
        clip=_clip_label(config) if "clip" in config.chosen_scores else None,
    )


def _judge_fingerprint(config: EvaluateConfig) -> str:
    weights = judge_folder(config) / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{weights.parent} holds no judge: set judge to a folder with one, or scores without judge")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


def judge_folder(config: EvaluateConfig) -> Path:
    """Where the judge lies."""
    return assets_folder() if config.judge is None else Path(config.judge).expanduser()


def _clip_label(config: EvaluateConfig) -> str:
    weights = clip_weights(config)
    require_clip(config.clip.model, weights)
    return clip_label(config.clip.model, weights)


def clip_weights(config: EvaluateConfig) -> Path:
    """Where CLIP's weights lie; they must be given."""
    assert config.clip.weights is not None
    return Path(config.clip.weights).expanduser()


def _earlier(folder: str) -> dict[str, Any]:
    document = Path(folder).expanduser() / RESULTS
    if not document.is_file():
        raise ValueError(f"{folder} holds no {RESULTS}: name folders of finished evaluations in compare_with")
    results: dict[str, Any] = json.loads(document.read_text())
    return results
