"""The tree of settings: changes by dotted names, and every check with the fix in its message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ladd_ray.config import Config, StudentConfig, override, to_json

CONFIG = Config()

KNOBS = {"student.guidance_knobs": True, "data.guidance_range": (1.5, 6.0)}

IMPOSSIBLE = [
    ({"run.num_workers": 3, "run.global_batch_size": 32}, "cannot be shared out evenly to 3 workers x 1"),
    ({"run.gradient_accumulation_steps": 5}, "2 workers x 5 micro batches"),
    ({"run.global_batch_size": 2}, "micro batch of 1 with the hinge loss"),
    ({"run.gradient_accumulation_steps": 16}, "set discriminator.loss = softplus"),
    ({"run.engine": "local"}, "set run.num_workers"),
    ({"run.engine": "local", "run.num_workers": 1, "teacher.sharded": True}, "needs run.engine = deepspeed"),
    ({"data.guidance_scale": 1.0}, "set data.allow_unguided"),
    ({"data.num_latents": 31}, "does not fill one global batch of 32"),
    ({"student.guidance_knobs": True}, r"set .*data\.guidance_range"),
    (KNOBS | {"data.origin": "real"}, "set data.origin = synthetic"),
    (KNOBS | {"discriminator.condition_on_prompt": False}, "set discriminator.condition_on_prompt"),
    (
        {"run.global_batch_size": 2, "discriminator.loss": "softplus", "discriminator.misaligned_weight": 1.0},
        "needs a neighbour in the micro batch",
    ),
    ({"discriminator.steps_per_student_step": 5, "run.steps": 4}, "no turn in 4 steps"),
    ({"method": "add", "discriminator.reuse": "none"}, r"add does not read discriminator\.reuse: leave"),
    ({"method": "add", "discriminator.tapped_blocks": (0,)}, r"does not read discriminator\.tapped_blocks"),
    ({"method": "add", "discriminator.condition_on_sigma": False}, r"does not read discriminator\.condition_on_sigma"),
    ({"method": "add", "lora.rank": 8}, "does not read lora:"),
    ({"method": "lcm", "distillation.weight": 2.5}, "lcm does not read distillation:"),
    ({"method": "lcm", "discriminator.r1": "exact"}, r"does not read discriminator\.r1"),
    (KNOBS | {"distillation.guidance_scale": 2.0}, "distillation.guidance_scale too unless there are real rows"),
    (
        KNOBS
        | {"data.tasks.inpaint": 0.5, "data.tasks.generate": 0.5}
        | {"distillation.guidance_scale": 2.0, "distillation.image_guidance_scale": 1.5},
        "leave distillation.image_guidance_scale at 1",
    ),
    ({"distillation.edit_target": "latents", "distillation.rows": "real"}, "set distillation.rows = all"),
    ({"distillation.edit_target": "latents", "distillation.weight": 1.0}, r"data\.tasks\.edit above 0"),
    ({"distillation.weight": 1.0, "distillation.rows": "real"}, "no row of the training set is: set it to all"),
    ({"distillation.image_guidance_scale": 1.5}, "set distillation.guidance_scale above 1"),
    ({"lora.rank": 8, "student.precision": "bf16"}, "set student.precision to teacher.precision, fp32"),
    ({"lora.rank": 8, "student.zero_stage": 3}, "set student.zero_stage to 2 or less"),
    ({"lora.rank": 8, "teacher.sharded": True}, "teacher.sharded to false"),
    ({"evaluation.student_steps": (1, 5)}, r"must lie in 1\.\.4"),
    ({"evaluation.student_steps": (0, 1)}, r"must lie in 1\.\.4"),
    ({"evaluation.student_steps": ()}, r"must lie in 1\.\.4"),
    ({"noise.probabilities": (0.5, 0.5)}, "2 entries for 4 levels"),
    ({"noise.warmup_probabilities": (0.0, 0.0, 0.5, 0.6)}, "must sum to 1"),
    ({"noise.probabilities": (1.2, -0.2, 0.0, 0.0)}, "must not be negative"),
    ({"noise.levels": (0.9, 0.75, 0.5, 0.25)}, "must fall from 1"),
    ({"noise.levels": (1.0, 0.5, 0.5, 0.25)}, "must fall from 1"),
    ({"noise.levels": (1.0, 0.5, 0.25, 0.0)}, "stay above 0"),
    ({"discriminator.tapped_blocks": (2, 1)}, "rising, distinct and not negative"),
    ({"discriminator.tapped_blocks": (1, 1)}, "rising, distinct and not negative"),
    ({"discriminator.tapped_blocks": (-1, 1)}, "rising, distinct and not negative"),
    ({"discriminator.tapped_blocks": ()}, "rising, distinct and not negative"),
    ({"discriminator.width": 12}, "multiple of 8"),
    ({"student.lr": 0.0}, "greater than 0"),
    ({"student.lr": float("nan")}, "finite number"),
    ({"student.zero_stage": 4}, "0, 1, 2 or 3"),
    ({"data.height": 72}, "multiple of 16"),
    ({"run.name": "../elsewhere"}, "should match pattern"),
]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE, ids=lambda value: str(value)[:60])
def test_impossible_configuration_says_what_to_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(CONFIG, changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"run.global_batch_size": 2, "discriminator.loss": "softplus"},
        {"run.engine": "local", "run.num_workers": 1},
        {"run.engine": "local", "run.num_workers": 0},
        {"teacher.sharded": True},
        {"data.guidance_scale": 0.0, "data.allow_unguided": True},
        {"data.num_latents": 32},
        {"data.num_latents": 31, "data.feed": "online"},
        {"distillation.weight": 1.0, "distillation.rows": "real", "data.origin": "real"},
        {"distillation.weight": 1.0, "distillation.rows": "real", "data.tasks.inpaint": 0.5},
        {"method": "add", "distillation.weight": 2.5, "discriminator.r1": "exact"},
        KNOBS,
        {"student.guidance_knobs": True, "method": "lcm"},
        {"noise.levels": (1.0,), "noise.probabilities": (1.0,), "noise.warmup_probabilities": (1.0,)}
        | {"evaluation.student_steps": (1,)},
        {"discriminator.tapped_blocks": (0, 3)},
        {"discriminator.misaligned_weight": 1.0},
        {"distillation.guidance_scale": 2.0, "distillation.image_guidance_scale": 1.5},
        {"lora.rank": 8, "student.precision": "bf16", "teacher.precision": "bf16", "student.zero_stage": 2},
    ],
)
def test_the_fix_in_the_message_works(changes: dict[str, Any]) -> None:
    assert override(CONFIG, changes) != CONFIG


def test_override_changes_what_is_named_and_nothing_else() -> None:
    changed = override(CONFIG, {"student.lr": 3e-4, "run.steps": 7})
    assert (changed.student.lr, changed.run.steps) == (3e-4, 7)
    assert override(changed, {"student.lr": CONFIG.student.lr, "run.steps": CONFIG.run.steps}) == CONFIG
    assert Config() == CONFIG


def test_override_takes_the_strings_of_a_command_line() -> None:
    changed = override(CONFIG, {"student.lr": "1e-4", "run.steps": "12", "data.allow_unguided": "true"})
    assert (changed.student.lr, changed.run.steps, changed.data.allow_unguided) == (1e-4, 12, True)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("student.learning_rate", "lr, lr_schedule"),
        ("studnet.lr", "discriminator, distillation, evaluation"),
        ("student.lr.peak", "discriminator, distillation, evaluation"),
        ("lr", "discriminator, distillation, evaluation"),
    ],
)
def test_unknown_name_lists_the_known_ones(name: str, known: str) -> None:
    with pytest.raises(ValueError, match=f"unknown setting '{name}'.*{known}"):
        override(CONFIG, {name: 1})


def test_unknown_field_and_assignment_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        StudentConfig.model_validate({"momentum": 0.9})
    with pytest.raises(ValidationError, match="frozen"):
        CONFIG.student.lr = 1.0  # type: ignore[misc]


def test_micro_batch_is_the_share_of_one_worker_and_forward() -> None:
    changes = {"run.num_workers": 4, "run.gradient_accumulation_steps": 2, "run.global_batch_size": 48}
    assert override(CONFIG, changes).micro_batch_size == 6
    assert override(CONFIG, {"run.num_workers": 0}).micro_batch_size == 32


def test_json_holds_the_whole_tree() -> None:
    changed = override(CONFIG, {"discriminator.tapped_blocks": (0, 2), "run.directory": "/data/runs"})
    assert Config.model_validate(json.loads(to_json(changed))) == changed


def test_every_setting_is_documented() -> None:
    sections = {
        name: field.annotation for name, field in Config.model_fields.items() if name not in ("recipe", "method")
    }
    missing = [
        f"{section}.{name}"
        for section, model in sections.items()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert missing == []
