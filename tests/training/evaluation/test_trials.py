"""Editing and inpainting in an evaluation: which exercises, by whom, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ladd_ray.data import edits, stickers
from ladd_ray.training.evaluation.plan import EvaluationPlan, prepare_evaluation
from ladd_ray.training.evaluation.trials import DEFAULT_COUNT, Trial
from tests.training.evaluation.conftest import Configure

FEW = {"num_edits": 4, "num_inpaints": 3}
DECISIVE: list[tuple[str, dict[str, object], set[str]]] = [
    ("counts", {"num_edits": 3}, {"edit"}),
    ("image guidance", {"teacher__image_guidance_scale": 2.0}, {"edit"}),
    ("text guidance", {"teacher__guidance_scale": 2.0}, {"edit", "inpaint"}),
    ("steps", {"student__steps": (1,)}, {"edit", "inpaint"}),
    ("seed", {"seed": 1}, {"edit", "inpaint"}),
    ("sizes", {"sizes": ((64, 64),)}, {"edit", "inpaint"}),
    ("prompts", {"num_images": 8}, set()),
    ("work", {"run__batch_size": 2}, set()),
]


def trials(plan: EvaluationPlan) -> dict[str, Trial]:
    return {trial.task: trial for trial in plan.trials}


def hashes(plan: EvaluationPlan) -> Mapping[str, str]:
    return {trial.task: trial.protocol["hash"] for trial in plan.trials}


def test_edits_are_held_out_exact_and_drawn_by_number(configure: Configure, wide_run: Path) -> None:
    trial = trials(prepare_evaluation(configure(wide_run, **FEW)))["edit"]
    assert [sample.number for sample in trial.samples] == [0, 1, 2, 3]
    for number, (exercise, sample) in enumerate(zip(trial.exercises, trial.samples, strict=True)):
        height, width = [(64, 64), (64, 96)][number % 2]
        drawn = edits.edit(2024, number, split="heldout", height=height, width=width)
        assert (exercise.text, exercise.kind, exercise.target) == (drawn.instruction, drawn.kind, drawn.target)
        assert (sample.prompt, sample.height, sample.width, sample.hole) == (drawn.instruction, height, width, None)
        assert np.array_equal(exercise.untouched, stickers.render(drawn.source))
        assert np.array_equal(exercise.changed, edits.changed(drawn))
        assert any(map(stickers.is_held_out, edits.combinations(drawn)))


def test_holes_lie_in_held_out_scenes(configure: Configure, wide_run: Path) -> None:
    trial = trials(prepare_evaluation(configure(wide_run, **FEW)))["inpaint"]
    assert len(trial.exercises) == 3
    for exercise, sample in zip(trial.exercises, trial.samples, strict=True):
        assert exercise.hole is not None and sample.hole is exercise.hole
        assert sample.prompt == exercise.target.caption
        assert any(map(stickers.is_held_out, stickers.combinations(exercise.target)))
        outside = ~exercise.hole
        assert np.array_equal(exercise.untouched[outside], exercise.exact[outside])
        assert len(np.unique(exercise.untouched[exercise.hole], axis=0)) == 2


def test_models_that_only_generate_are_left_out(
    configure: Configure, run_folder: Path, wide_run: Path, wide_folder: Path
) -> None:
    plan = prepare_evaluation(configure(run_folder, wide_run, wide_folder, **FEW))
    names = {task: [contender.name for contender in trial.contenders] for task, trial in trials(plan).items()}
    expected = ["wide-run/student_1", "wide-run/student_2", f"{wide_folder.parent.name}/teacher", "untrained"]
    assert names == {"edit": expected, "inpaint": expected}
    guidance = {task: trial.contenders[2].image_guidance_scale for task, trial in trials(plan).items()}
    assert guidance == {"edit": 1.5, "inpaint": 1.0}
    *_, control = trials(plan)["edit"].contenders
    assert (control.model, control.num_inference_steps, control.untrained) == (str(wide_run / "export"), 2, True)
    assert "image guidance 1.5" in plan.describe() and "inpainting 3 pictures each" in plan.describe()


def test_counts_follow_the_models(configure: Configure, run_folder: Path, wide_run: Path) -> None:
    assert not prepare_evaluation(configure(run_folder)).trials
    counts = {task: len(trial.exercises) for task, trial in trials(prepare_evaluation(configure(wide_run))).items()}
    assert counts == {"edit": DEFAULT_COUNT, "inpaint": DEFAULT_COUNT}
    assert list(trials(prepare_evaluation(configure(wide_run, num_edits=0, num_inpaints=4)))) == ["inpaint"]
    assert not prepare_evaluation(configure(wide_run, scores=("kid",))).trials


@pytest.mark.parametrize(("changes", "changed"), [case[1:] for case in DECISIVE], ids=[case[0] for case in DECISIVE])
def test_every_task_has_a_protocol_of_its_own(
    configure: Configure, wide_run: Path, changes: dict[str, object], changed: set[str]
) -> None:
    before, after = (hashes(prepare_evaluation(configure(wide_run, **{**FEW, **more}))) for more in ({}, changes))
    assert {task for task in before if before[task] != after[task]} == changed


def test_editing_leaves_the_protocol_of_generating_alone(
    configure: Configure, run_folder: Path, wide_run: Path
) -> None:
    narrow, wide = prepare_evaluation(configure(run_folder)), prepare_evaluation(configure(wide_run, **FEW))
    assert narrow.protocol == wide.protocol


def test_what_cannot_be_done_is_refused(configure: Configure, run_folder: Path, wide_folder: Path) -> None:
    with pytest.raises(ValueError, match="none of the models edits"):
        prepare_evaluation(configure(run_folder, num_edits=4))
    with pytest.raises(ValueError, match=r"needs teacher\.guidance_scale above 1"):
        prepare_evaluation(configure(wide_folder, **FEW, teacher__guidance_scale=1.0))
    unguided = {"teacher__guidance_scale": 1.0, "teacher__image_guidance_scale": 1.0}
    assert len(prepare_evaluation(configure(wide_folder, **FEW, **unguided)).trials) == 2
