"""Scores of a student in the middle of its training: every rank draws a share of the held-out prompts.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; c latent channels; d features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ladd_ray.algorithm import noise
from ladd_ray.algorithm.levels import sampling_levels
from ladd_ray.algorithm.sampling import sample_student
from ladd_ray.config import Config
from ladd_ray.evaluation.features import EffNetLite0Features
from ladd_ray.evaluation.judge import prompt_scores
from ladd_ray.evaluation.pictures import sample_grid
from ladd_ray.evaluation.scores import kid
from ladd_ray.inference.images import decode
from ladd_ray.interfaces import Condition, Engine, Tracker, TrainableNetwork
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.judge import Judge, Reading
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.milestones.reference import asked, read_reference
from ladd_ray.training.run_folder import RunFolder

SHEET = "milestone.png"
"""In the folder of the run: the first pictures at the latest milestone."""
PREFIX = "milestone/"
"""Of the scores among the metrics of the run."""

Announce = Callable[[Mapping[str, float]], None]
"""Told by every rank what came out at a milestone: step, seconds and scores; the same on all ranks."""


@dataclass(frozen=True)
class Share:
    """What one rank saw of its own pictures."""

    numbers: list[int]
    """Of the samples; some may come twice."""
    features: Tensor
    """(n, d)."""
    readings: list[Reading]
    """Of the judge; none where the facts of the prompts are not known."""
    shown: dict[int, NDArray[np.uint8]]
    """Pictures (h, w, 3) for the sheet, by the number of the sample."""


class Milestones:
    """The milestones of a run, seen by one worker."""

    def __init__(
        self, config: Config, engine: Engine, *, reference: Path, folder: RunFolder, announce: Announce | None = None
    ) -> None:
        """What draws and judges is loaded at the first milestone.

        Args:
            config: of the run.
            engine: where the student trains.
            reference: folder that ``ensure_reference`` made.
            folder: of the run; scores that it already has count on.
            announce: hears of every milestone.
        """
        self._config, self._engine = config, engine
        self._reference, self._folder = reference, folder
        self._announce = announce
        self._asked = asked(config)
        self._began = time.monotonic() - (scores_in(folder)[-1]["seconds"] if scores_in(folder) else 0.0)

    def due(self, step: int) -> bool:
        """Whether there is one after ``step`` steps."""
        return step % self._config.milestones.every == 0 or step == self._config.run.steps

    def reach(self, student: TrainableNetwork, tracker: Tracker, *, step: int) -> None:
        """Draw, score, log and announce; collective."""
        shares = self._engine.gather_objects(self._share(student))
        # Rank 0 measures, so that a clock or a thread more elsewhere cannot make ranks disagree.
        found = self._measure(shares, step=step) if self._engine.rank == 0 else {}
        scores: dict[str, float] = self._engine.gather_objects(found)[0]
        tracker.log_metrics({f"{PREFIX}{name}": value for name, value in scores.items()}, step)
        if self._announce:
            self._announce({"step": step, **scores})

    def _share(self, student: TrainableNetwork) -> Share:
        batches = list(self._batches())
        with student.ema_weights() as module, torch.no_grad():
            pictures = np.concatenate([self._draw(module, batch) for batch in batches])
        numbers = list(chain.from_iterable(batches))
        most = self._config.evaluation.num_sample_prompts
        shown = {number: picture for number, picture in zip(numbers, pictures, strict=True) if number < most}
        readings = self._judge.read(pictures) if self._asked.scenes else []
        return Share(numbers, self._features(pictures), readings, shown)

    def _batches(self) -> Iterator[list[int]]:
        """Samples of this rank. All ranks make as many batches: sharded networks need all of them at each forward."""
        count, size = self._config.milestones.num_images, self._config.evaluation.batch_size
        world_size = self._engine.world_size
        size = min(size, -(-count // world_size))
        for start in range(self._engine.rank * size, count + self._engine.rank * size, size * world_size):
            yield [min(number, count - 1) for number in range(start, start + size)]

    def _draw(self, module: nn.Module, numbers: list[int]) -> NDArray[np.uint8]:
        """(n, h, w, 3)."""
        config, device = self._config, self._engine.device
        shape = self._autoencoder.latent_shape(config.data.height, config.data.width)
        latents = sample_student(
            module,
            self._prompts.rows(torch.tensor(numbers)).to(device),
            levels=sampling_levels(config.noise.levels, config.milestones.num_inference_steps),
            noise_for=noise.per_step(shape, seed=config.evaluation.seed, sample_ids=numbers, device=device),
        )
        return decode(self._autoencoder, latents)

    def _measure(self, shares: list[Share], *, step: int) -> dict[str, float]:
        # The same picture may come twice, where a rank had to fill up.
        place_of = {number: place for place, number in enumerate(chain.from_iterable(one.numbers for one in shares))}
        places = [place_of[number] for number in range(self._config.milestones.num_images)]
        features = torch.cat([share.features for share in shares])[places]
        found = {"seconds": time.monotonic() - self._began, "kid": kid(self._compared, features).value}
        if self._asked.scenes:
            readings = list(chain.from_iterable(share.readings for share in shares))
            ordered = [readings[place] for place in places]
            found["judge"] = prompt_scores(ordered, self._asked.scenes).overall
        self._show({number: picture for share in shares for number, picture in share.shown.items()}, step=step)
        return found

    def _show(self, pictures: Mapping[int, NDArray[np.uint8]], *, step: int) -> None:
        row = np.stack([pictures[number] for number in sorted(pictures)])
        partial = self._folder.path / f"part.{SHEET}"
        sample_grid({f"step {step}": row}, self._asked.prompts[: len(row)], partial)
        partial.replace(self._folder.path / SHEET)

    @cached_property
    def _prompts(self) -> Condition:
        """All prompts, encoded; the towers that encode them are let go."""
        precision, path = self._config.teacher.precision, self._config.teacher.path
        encoder = PromptEncoder.from_pretrained(path, precision=precision, device=self._engine.device)
        return encoder.encode(list(self._asked.prompts)).to("cpu")

    @cached_property
    def _autoencoder(self) -> Autoencoder:
        teacher = self._config.teacher
        return Autoencoder.from_pretrained(teacher.path, precision=teacher.precision, device=self._engine.device)

    @cached_property
    def _features(self) -> EffNetLite0Features:
        return EffNetLite0Features(self._engine.device)

    @cached_property
    def _judge(self) -> Judge:
        return Judge.from_pretrained()

    @cached_property
    def _compared(self) -> Tensor:
        return read_reference(self._reference)


def scores_in(folder: RunFolder) -> list[dict[str, float]]:
    """What the milestones of a run brought so far, as they were announced; by rising steps."""
    lines = LocalHistory(folder.path / "metrics.jsonl").read()
    return [
        {name.removeprefix(PREFIX): value for name, value in line.items() if name == "step" or name.startswith(PREFIX)}
        for line in lines
        if f"{PREFIX}kid" in line
    ]
