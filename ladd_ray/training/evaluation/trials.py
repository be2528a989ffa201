"""Editing and inpainting in an evaluation: exact exercises of the embedded world, and the models that do them.

Shapes: h, w height and width of a picture in pixels, last axis red, green, blue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ladd_ray.data.edits import edit
from ladd_ray.data.masks import draw_mask
from ladd_ray.data.stickers import Scene, render, scene
from ladd_ray.evaluate_config import EvaluateConfig
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.protocol import TaskProtocol
from ladd_ray.evaluation.table import TASK_TABLES
from ladd_ray.evaluation.world_sheet import with_hole
from ladd_ray.training.evaluation.candidates import Candidate, contenders_of, editing, untrained
from ladd_ray.training.painting import Contender, Picture, Sample

DEFAULT_COUNT = 128
"""Exercises of a task that nobody sets a number for."""
TrialTask = Literal["edit", "inpaint"]
"""Names of results and tables."""


@dataclass(frozen=True, eq=False)
class Exercise:
    """What to make of a picture, and the exact result."""

    text: str
    """The instruction, or the caption of the whole picture."""
    kind: str
    """Of edit, or of hole."""
    target: Scene
    source: Picture
    """(h, w, 3) to edit, or whose hole is to be filled."""
    hole: NDArray[np.bool_] | None = None
    """(h, w), True where to draw; None for an edit."""

    @property
    def exact(self) -> Picture:
        """The picture (h, w, 3) that fulfils it."""
        return render(self.target)

    @property
    def untouched(self) -> Picture:
        """What is given (h, w, 3), with gray checks in the hole."""
        return self.source if self.hole is None else with_hole(self.source, self.hole)

    def sample(self, number: int) -> Sample:
        """As a model gets it; the number decides the noise."""
        return Sample(number, self.text, self.target.height, self.target.width, self.source, self.hole)

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Where source and exact result differ (h, w)."""
        return np.asarray((self.source != self.exact).any(axis=2))


@dataclass(frozen=True)
class Trial:
    """One task: its exercises, and who does them."""

    task: TrialTask
    exercises: tuple[Exercise, ...]
    contenders: tuple[Contender, ...]
    """All models that can in all their ways to draw, the last one without training."""
    protocol: dict[str, Any]
    """Facts and hash."""

    @property
    def title(self) -> str:
        """For people."""
        return TASK_TABLES[self.task][0]

    @property
    def description(self) -> str:
        """What would run, for people."""
        labels = "; ".join(contender.label for contender in self.contenders)
        return f"{len(self.exercises)} pictures each by {labels}; protocol {self.protocol['hash']}"

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The exercises as they are drawn; their numbers decide the noise."""
        return tuple(exercise.sample(number) for number, exercise in enumerate(self.exercises))


def find_trials(config: EvaluateConfig, candidates: Sequence[Candidate], *, judge: str) -> tuple[Trial, ...]:
    """Editing and inpainting, as far as they are asked for and some model does them.

    Args:
        config: Of the evaluation.
        candidates: All its models.
        judge: Fingerprint of the judge.

    Raises:
        ValueError: no model can do what is asked for, or the guidance does not fit.
    """
    able = [candidate for candidate in candidates if candidate.three_tasks]
    asked: dict[TrialTask, int | None] = {"edit": config.num_edits, "inpaint": config.num_inpaints}
    counts = {task: (DEFAULT_COUNT if able else 0) if count is None else count for task, count in asked.items()}
    _require_able(able, counts)
    return tuple(_trial(task, count, config=config, able=able, judge=judge) for task, count in counts.items() if count)


def _trial(task: TrialTask, count: int, *, config: EvaluateConfig, able: Sequence[Candidate], judge: str) -> Trial:
    sizes = islice(cycle(config.sizes), count)
    exercise = edit_exercise if task == "edit" else fill_exercise
    exercises = tuple(exercise(config.seed, number, size=size) for number, size in enumerate(sizes))
    drawing = [contender for one in able for contender in contenders_of(one, config)]
    if task == "edit":
        _require_guidance(drawing, config)
        drawing = [editing(contender, config.teacher.image_guidance_scale) for contender in drawing]
    main = next(one for one in reversed(drawing) if one.model == able[0].path)
    protocol = _protocol(task, exercises, config=config, judge=judge).to_dict()
    return Trial(task, exercises, (*drawing, untrained(main)), protocol)


def edit_exercise(seed: int, number: int, *, size: tuple[int, int]) -> Exercise:
    """Held-out edit ``number`` of a seed, in a frame of that height and width."""
    height, width = size
    drawn = edit(seed, number, split="heldout", height=height, width=width)
    return Exercise(drawn.instruction, drawn.kind, drawn.target, render(drawn.source))


def fill_exercise(seed: int, number: int, *, size: tuple[int, int]) -> Exercise:
    """Hole ``number`` of a seed in its held-out scene, in a frame of that height and width."""
    height, width = size
    original = scene(seed, number, split="heldout", height=height, width=width)
    mask = draw_mask(seed, number, original)
    return Exercise(original.caption, mask.kind, original, render(original), mask.pixels())


def _protocol(task: TrialTask, exercises: Sequence[Exercise], *, config: EvaluateConfig, judge: str) -> TaskProtocol:
    return TaskProtocol(
        task=task,
        num_images=len(exercises),
        sizes=config.sizes,
        exercises=exercises_fingerprint(exercises),
        seed=config.seed,
        student_steps=config.student.steps,
        teacher_steps=config.teacher.num_inference_steps,
        teacher_guidance=config.teacher.guidance_scale,
        image_guidance=config.teacher.image_guidance_scale if task == "edit" else None,
        teacher_shift=config.teacher.shift,
        features=EffNetLite0Features.name,
        judge=judge,
    )


def exercises_fingerprint(exercises: Sequence[Exercise]) -> str:
    """16 hex digits that change with a text, a given picture, a hole or an exact result."""
    digest = hashlib.sha256()
    for exercise in exercises:
        digest.update(exercise.text.encode())
        for picture in (exercise.untouched, exercise.exact):
            digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def _require_able(able: Sequence[Candidate], counts: Mapping[TrialTask, int]) -> None:
    if any(counts.values()) and not able:
        raise ValueError(
            "none of the models edits or inpaints: name one that jobs/pretrain.py taught to, or set num_edits and "
            "num_inpaints to 0"
        )


def _require_guidance(contenders: Sequence[Contender], config: EvaluateConfig) -> None:
    guided = any(contender.guidance_scale is not None for contender in contenders)
    if guided and config.teacher.guidance_scale <= 1 and config.teacher.image_guidance_scale != 1:
        raise ValueError(
            f"teacher.image_guidance_scale = {config.teacher.image_guidance_scale} needs teacher.guidance_scale above "
            "1: set it to 1, or num_edits to 0"
        )
