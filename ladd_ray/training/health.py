"""When a run has collapsed: the symptoms, and the gates that watch for them.

Causes and remedies are those that public adversarial trainings have found; the limits are ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ladd_ray.config import HealthConfig
from ladd_ray.interfaces import Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Symptom:
    """One way in which a run may fail."""

    name: str
    metric: str
    seen: str
    """What the metric says, with the setting that holds its limit."""
    cause: str
    remedies: tuple[str, ...]
    fatal: bool = True
    """Otherwise only worth a warning."""


class CollapseError(Exception):
    """Ends the training of a collapsed run, on all ranks at the same step."""

    def __init__(self, symptom: Symptom, *, step: int) -> None:
        super().__init__(f"the run collapsed at step {step}: {symptom.name}")
        self.symptom, self.step = symptom, step


JUDGE_WON = Symptom(
    "the judge has won",
    "discriminator/accuracy",
    "The heads tell real from fake at nearly every token, above `health.max_accuracy`.",
    "The judge is too strong: the student's gradient no longer says which way to go, and colours drift.",
    (
        "lower `discriminator.lr`, or raise `student.lr` if it is far below it",
        "set `discriminator.r1 = approximate` with `discriminator.r1_weight = 100`",
        "set `discriminator.loss = softplus`",
        "raise `run.global_batch_size` to more than a few samples per worker and micro batch",
        "raise `noise.renoise_mean`, judge fewer blocks (`discriminator.tapped_blocks`), or narrow the heads "
        "(`discriminator.width`)",
    ),
)

DEAD_HINGE = Symptom(
    "the hinge is dead",
    "discriminator/dead_hinge",
    "Nearly all logits lie beyond the margin of the hinge, above `health.max_dead_hinge`.",
    "The heads are so sure that their loss is 0: they stop learning, and the student still follows them.",
    (
        "set `discriminator.loss = softplus`, which has no margin",
        "lower `discriminator.lr`",
        "set `discriminator.r1 = approximate` with `discriminator.r1_weight = 100`",
    ),
)

DEAD_STUDENT = Symptom(
    "the student gets no gradient",
    "student/gradient_norm",
    "The norm of the student's gradient is next to nothing, below `health.min_student_gradient`.",
    "The heads answer the same whatever they see, or their logits are saturated.",
    (
        "lower `discriminator.lr`: heads that have run away answer a constant",
        "with `discriminator.loss` softplus or bce, go back to hinge, which does not saturate for the student",
        "check the precision of student and teacher: bf16 loses gradients this small",
    ),
)

UNDECIDED = Symptom(
    "the judge only guesses",
    "discriminator/accuracy",
    "The heads are right half of the time, as a coin is, within `health.undecided_accuracy`.",
    "The judge sees no difference: it looks through too much noise, or learns too slowly, or the student is as good "
    "as its data.",
    (
        "lower `noise.renoise_mean`: small latents want about -1",
        "raise `discriminator.lr`",
        "draw pictures before you believe that the student is as good as its data",
    ),
    fatal=False,
)


@dataclass
class Gates:
    """Watches the logged metrics of a run. A symptom counts when ``patience`` points in a row show it.

    A resumed run begins to count anew.
    """

    config: HealthConfig
    _streaks: dict[Symptom, int] = field(default_factory=dict)

    def check(self, metrics: Mapping[str, float], engine: Engine, *, step: int) -> None:
        """Count this point; warn, or end the run. Collective, so that all ranks end at the same step.

        Raises:
            CollapseError: a fatal symptom counts, and the configuration wants to stop for it.
        """
        for symptom in engine.gather_objects(self.observe(metrics, step=step))[0]:
            if symptom.fatal and self.config.stop:
                raise CollapseError(symptom, step=step)
            if engine.rank == 0:
                advice = "; or ".join(symptom.remedies)
                logger.warning("step %d: %s. %s Try this: %s", step, symptom.name, symptom.cause, advice)

    def observe(self, metrics: Mapping[str, float], *, step: int) -> list[Symptom]:
        """The symptoms whose streak reaches the patience at this point."""
        for symptom, shown in _shown(metrics, self.config, step=step).items():
            self._streaks[symptom] = self._streaks.get(symptom, 0) + 1 if shown else 0
        reached = [symptom for symptom, streak in self._streaks.items() if streak == self.config.patience]
        # A metric that this point does not have says nothing; without this its streak would count again.
        return [symptom for symptom in reached if symptom.metric in metrics]


def _shown(metrics: Mapping[str, float], config: HealthConfig, *, step: int) -> dict[Symptom, bool]:
    """Whether the metrics show each symptom that they can tell about."""
    found = {}
    if (accuracy := metrics.get(JUDGE_WON.metric)) is not None:
        found[JUDGE_WON] = accuracy > config.max_accuracy
        found[UNDECIDED] = abs(accuracy - 0.5) <= config.undecided_accuracy and step > config.undecided_after
    if (dead_hinge := metrics.get(DEAD_HINGE.metric)) is not None:
        found[DEAD_HINGE] = dead_hinge > config.max_dead_hinge
    if (gradient := metrics.get(DEAD_STUDENT.metric)) is not None:
        found[DEAD_STUDENT] = gradient < config.min_student_gradient
    return found
