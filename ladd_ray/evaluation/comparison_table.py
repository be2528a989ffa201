"""A comparison as Markdown: the targets, a table for each study with the paper's claims, categories, and costs."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from ladd_ray.compare_config import STUDIES, Study
from ladd_ray.evaluation.comparison import (
    BySeed,
    BySteps,
    Comparison,
    Spread,
    distance,
    judged,
    spread,
    steps_text,
    verdict,
)
from ladd_ray.evaluation.comparison_targets import MEGABYTE, targets
from ladd_ray.evaluation.protocol import HASH
from ladd_ray.evaluation.table import markdown_table

HEAD = ("sampler", "judge", "of the teacher's", "KID to the teacher", "KID to real", "diversity of the teacher's")
COST_HEAD = ("arm", "s/step", "steps", "images", "s trained", "peak memory, MB")


def comparison_table(comparison: Comparison) -> str:
    """Everything, for people."""
    studies = [STUDIES[name] for name in comparison.studies]
    parts = [
        *_notes(comparison),
        *_targets(comparison),
        "## The teacher itself",
        markdown_table(HEAD, [_teacher_row(comparison), *_few_steps(comparison)]),
        *(part for study in studies for part in _study(study, comparison)),
        *_categories(comparison),
        "## Cost of training",
        markdown_table(COST_HEAD, list(_costs(comparison))),
    ]
    return "\n\n".join(parts) + "\n"


def _notes(comparison: Comparison) -> Iterator[str]:
    protocol, floor, seeds = comparison.protocol, comparison.kid_floor, comparison.seeds
    yield (
        f"{comparison.seconds:g} s of training for every arm and seed, in steps of {comparison.batch_size}, on "
        f"{comparison.machine}. Means over the training seeds {', '.join(map(str, seeds))}; after +- stands their "
        "standard deviation, which is no confidence interval."
    )
    yield (
        f"{protocol['num_images']} held-out prompts, protocol {protocol[HASH]}. KID by {protocol['features']}, from "
        f"which ADD learns, too; halves of the teacher's pictures: {floor.mean:.4f} +- {floor.std:.4f}."
    )
    if comparison.failed:
        yield f"Ended in an error and are missing: {', '.join(comparison.failed)}."


def _targets(comparison: Comparison) -> Iterator[str]:
    if lines := targets(comparison):
        yield "## Targets"
        yield "\n".join(f"- {line}" for line in lines)


def _study(study: Study, comparison: Comparison) -> Iterator[str]:
    present = {name: label for name, label in study.arms.items() if name in comparison.arms}
    rows = [row for name, label in present.items() for row in _rows(label, comparison.arms[name].scores, comparison)]
    yield f"## {study.title}"
    yield markdown_table(HEAD, [_teacher_row(comparison), *rows])
    if claims := [claim for claim in study.claims if {claim.arm, claim.other} <= present.keys()]:
        yield "\n".join(f"- {verdict(claim, comparison)}" for claim in claims)


def _teacher_row(comparison: Comparison) -> list[str]:
    return _row(comparison.teacher_label, {0: comparison.teacher}, comparison)


def _few_steps(comparison: Comparison) -> Iterator[list[str]]:
    for label, scores in comparison.few_steps.items():
        yield from _rows(label, scores, comparison)


def _rows(label: str, scores: BySteps, comparison: Comparison) -> Iterator[list[str]]:
    for steps, by_seed in scores.items():
        yield _row(f"{label}, {steps_text(steps)}", by_seed, comparison)


def _row(label: str, scores: BySeed, comparison: Comparison) -> list[str]:
    teacher = comparison.teacher
    followed = spread(scores, judged)
    return [
        label,
        followed.text(),
        f"{followed.mean / teacher.judge:.2f}" if teacher.judge else "-",
        spread(scores, distance).text(4),
        spread(scores, lambda one: one.kid_real).text(4),
        spread(scores, lambda one: one.diversity / teacher.diversity).text(2) if teacher.diversity else "-",
    ]


def _categories(comparison: Comparison) -> Iterator[str]:
    """What the judge sees by category, at the most steps."""
    names = list(comparison.teacher.categories)
    most = max(steps for arm in comparison.arms.values() for steps in arm.scores)
    everyone = {comparison.teacher_label: {0: comparison.teacher}}
    everyone |= {arm.label: dict(arm.scores[most]) for arm in comparison.arms.values()}
    rows = [
        [label, *(Spread.of([one.categories[name] for one in scores.values()]).text(2) for name in names)]
        for label, scores in everyone.items()
    ]
    yield f"## Judge by category, students in {steps_text(most)}"
    yield markdown_table(["sampler", *names], rows)


def _costs(comparison: Comparison) -> Iterator[list[str]]:
    for arm in comparison.arms.values():
        yield [
            arm.label,
            f"{arm.seconds_per_step:.3f}",
            str(arm.steps),
            str(arm.steps * comparison.batch_size),
            f"{mean(arm.seconds.values()):.0f}",
            f"{arm.peak_memory / MEGABYTE:.0f}",
        ]
