"""What became of all runs: scores and costs joined into a ``Comparison``, and the first pictures of everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ladd_ray.compare_config import ARMS
from ladd_ray.data import stickers
from ladd_ray.evaluation.comparison import ArmResult, BySteps, Comparison
from ladd_ray.evaluation.comparison_pictures import Drawn, arm_row
from ladd_ray.evaluation.contact_sheet import Row
from ladd_ray.evaluation.metrics import Pictures
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.comparison.calibration import Cost
from ladd_ray.training.comparison.plan import ComparisonPlan, Trainee
from ladd_ray.training.comparison.scoring import Entrant, Hall, Scored, few_step_teachers, open_hall, score_all
from ladd_ray.training.evaluation.candidates import contenders_of
from ladd_ray.training.evaluation.latency import machine_name
from ladd_ray.training.evaluation.plan import crew_of

AllScored = Mapping[str, Scored]
"""By the name of the contender."""


@dataclass(frozen=True, eq=False)
class Exhibition:
    """Pictures of the same prompts by everybody."""

    drawn: Mapping[str, Drawn]
    """By the name of the arm, of the first seed that was trained."""
    beside: Row
    """The teacher, and what is really there."""


def assess(
    plan: ComparisonPlan, trained: Sequence[Trainee], *, costs: Mapping[str, Cost]
) -> tuple[Comparison, Exhibition]:
    """Score the runs that were trained, and their teacher.

    Args:
        plan: Of the comparison.
        trained: Runs with an export.
        costs: Of every arm.
    """
    hall = open_hall(plan, [str(plan.run_folder(trainee).export) for trainee in trained])
    teacher, *few_steps = _teachers(plan, hall)
    scored, kid_floor = score_all(hall, [teacher, *few_steps, *_students(hall)], plan.config)
    config = plan.config
    comparison = Comparison(
        protocol=hall.protocol,
        machine=machine_name(crew_of(config.run)),
        batch_size=plan.standard.run.global_batch_size,
        seconds=config.seconds,
        studies=config.studies,
        seeds=config.seeds,
        kid_floor=kid_floor,
        teacher_label=teacher.contender.label,
        teacher=scored[teacher.contender.name].scores,
        few_steps=_by_label(few_steps, scored),
        arms=_arms(plan, trained, costs=costs, scored=scored),
        failed=tuple(trainee.name for trainee in plan.trainees if trainee not in trained),
    )
    return comparison, _exhibition(plan, trained, hall=hall, scored=scored)


def _teachers(plan: ComparisonPlan, hall: Hall) -> list[Entrant]:
    """The guided one first."""
    candidate, config = hall.plan.candidates[0], hall.plan.config
    begun = few_step_teachers(candidate, config, levels=plan.standard.noise.levels)
    return [Entrant(contender, candidate.fingerprint) for contender in (*contenders_of(candidate, config), *begun)]


def _students(hall: Hall) -> list[Entrant]:
    return [
        Entrant(contender, candidate.fingerprint)
        for candidate in hall.plan.candidates[1:]
        for contender in contenders_of(candidate, hall.plan.config)
    ]


def _by_label(entrants: Sequence[Entrant], scored: AllScored) -> dict[str, BySteps]:
    labels = dict.fromkeys(entrant.contender.label for entrant in entrants)
    return {
        label: {
            one.contender.num_inference_steps: {0: scored[one.contender.name].scores}
            for one in entrants
            if one.contender.label == label
        }
        for label in labels
    }


def _arms(
    plan: ComparisonPlan, trained: Sequence[Trainee], *, costs: Mapping[str, Cost], scored: AllScored
) -> dict[str, ArmResult]:
    found = {}
    for arm in dict.fromkeys(trainee.arm for trainee in trained):
        own = [trainee for trainee in trained if trainee.arm == arm]
        found[arm] = ArmResult(
            label=ARMS[arm].label,
            seconds_per_step=costs[arm].seconds_per_step,
            peak_memory=costs[arm].peak_memory,
            steps=costs[arm].steps_in(plan.config.seconds),
            seconds={trainee.seed: _seconds(plan, trainee) for trainee in own},
            scores={
                steps: {trainee.seed: scored[_student(trainee, steps)].scores for trainee in own}
                for steps in plan.config.student_steps
            },
        )
    return found


def _student(trainee: Trainee, steps: int) -> str:
    """Name of the contender; see ``contenders_of``."""
    return f"{trainee.name}/student_{steps}"


def _seconds(plan: ComparisonPlan, trainee: Trainee) -> float:
    """What the steps of a run took, by its own log."""
    history = LocalHistory(plan.run_folder(trainee).path / "metrics.jsonl").read()
    before = [0.0, *(line["step"] for line in history)]
    size = plan.standard.run.global_batch_size
    return sum(
        (line["step"] - start) * size / line["throughput/images_per_second"]
        for start, line in zip(before, history, strict=False)
    )


def _exhibition(plan: ComparisonPlan, trained: Sequence[Trainee], *, hall: Hall, scored: AllScored) -> Exhibition:
    counts = plan.config.student_steps
    first = {trainee.arm: trainee for trainee in reversed(trained)}
    drawn = {arm: {steps: scored[_student(trainee, steps)].shown for steps in counts} for arm, trainee in first.items()}
    return Exhibition(drawn, _beside(hall, scored, columns=len(counts)))


def _beside(hall: Hall, scored: AllScored, *, columns: int) -> Row:
    """As many sets of pictures as a student has numbers of steps."""
    config, asked = hall.plan.config, hall.plan.asked
    assert asked.scenes is not None, "a comparison lives in the embedded world"
    (teacher,) = contenders_of(hall.plan.candidates[0], config)
    sets: dict[str, Pictures] = {
        f"teacher {teacher.num_inference_steps} steps": scored[teacher.name].shown,
        "real": [stickers.render(scene) for scene in asked.scenes[: config.num_sample_prompts]],
    }
    for steps in sorted(config.student.steps, reverse=True):
        sets[f"Euler {steps}"] = scored[f"euler_{steps}"].shown
    chosen = dict(list(sets.items())[:columns])
    pictures = dict(enumerate(chosen.values()))
    return arm_row(", ".join(chosen), pictures, captions=asked.prompts[: config.num_sample_prompts])
