"""LADD's step with the real networks: who learns when, whose gradients a turn leaves, and what each option changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm import ladd
from ladd_ray.config import Config
from ladd_ray.training.methods.ladd import LaddMethod
from tests.training.methods.steps import batch_for, build, watch

OPTIONS = [
    {},
    {"discriminator__r1": "exact"},
    {"discriminator__r1": "approximate", "discriminator__r1_weight": 100.0},
    {"discriminator__misaligned_weight": 1.0},
    {"distillation__weight": 2.5},
]


def weights(method: LaddMethod, name: str) -> list[Tensor]:
    return [weight.detach().clone() for weight in method.trainable[name].module.parameters()]


def same(ones: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def test_every_turn_leaves_gradients_in_its_own_network_only(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(config)
    left = watch(monkeypatch, method)
    method.step(batch_for(method), step=0)
    assert list(left) == ["heads", "student"]
    for turn, found in left.items():
        assert [name for name, grads in found.items() if grads] == [turn]
        own = dict(method.trainable[turn].module.named_parameters())
        assert found[turn].keys() == own.keys()
        moved = [name for name, gradient in found[turn].items() if gradient.any()]
        assert len(moved) > 0.8 * len(own), set(own) - set(moved)


def test_heads_learn_again_after_the_students_turn(config: Config) -> None:
    method = build(config)
    method.step(batch_for(method), step=0)
    assert all(weight.requires_grad for weight in method.heads.module.parameters())
    assert not any(weight.requires_grad for weight in method.features.parameters())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_six_forwards_give_the_gradients_of_eight(
    config: Config, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    found = {}
    for reuse in ("full", "none"):
        method = build(config, discriminator__reuse=reuse, **options)
        # Weights away from the start, where the heads' answer hardly depends on the student.
        method.step(batch_for(method, first_id=100), step=0)
        left = watch(monkeypatch, method)
        report = method.step(batch_for(method), step=1)
        found[reuse] = left, report.metrics
    (six, six_metrics), (eight, eight_metrics) = found["full"], found["none"]
    assert six_metrics.keys() == eight_metrics.keys()
    for turn in ("heads", "student"):
        for name, gradient in six[turn][turn].items():
            other = eight[turn][turn][name]
            assert (gradient - other).norm() <= 1e-5 * other.norm() + 1e-12, (turn, name)
    assert any(gradient.abs().max() > 1e-4 for gradient in six["student"]["student"].values())


def count_calls(method: LaddMethod) -> dict[str, int]:
    """How often the transformer of student and features runs."""
    calls = {"student": 0, "features": 0}
    for name, module in (("student", method.student.module), ("features", method.features)):

        def counted(*_: object, name: str = name) -> None:
            calls[name] += 1

        module.register_forward_pre_hook(counted)
    return calls


@pytest.mark.parametrize(("reuse", "student", "features"), [("full", 1, 2), ("none", 2, 3)])
def test_passes_of_a_step(config: Config, reuse: str, student: int, features: int) -> None:
    method = build(config, discriminator__reuse=reuse)
    calls = count_calls(method)
    method.step(batch_for(method), step=0)
    assert calls == {"student": student, "features": features}


def test_heads_learn_in_every_step_and_the_student_in_every_third(config: Config) -> None:
    method = build(config, discriminator__steps_per_student_step=3)
    for step in range(6):
        before = weights(method, "student"), weights(method, "heads")
        report = method.step(batch_for(method, first_id=4 * step), step=step)
        due = step in (2, 5)
        assert set(report.updates) == ({"student", "heads"} if due else {"heads"})
        assert ("student/loss" in report.metrics) is due
        assert same(before[0], weights(method, "student")) is not due
        assert not same(before[1], weights(method, "heads"))


def test_a_step_without_the_student_keeps_no_graph_of_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(config, discriminator__steps_per_student_step=2)
    calls = count_calls(method)
    left = watch(monkeypatch, method)
    method.step(batch_for(method), step=0)
    assert calls == {"student": 1, "features": 2}
    assert [name for name, grads in left["heads"].items() if grads] == ["heads"]


def test_the_learning_rate_of_the_student_follows_its_own_steps(config: Config) -> None:
    method = build(config, discriminator__steps_per_student_step=5, student__lr_schedule="linear")
    rates = []
    for step in range(10):
        report = method.step(batch_for(method, first_id=4 * step), step=step)
        rates += [report.updates[name].lr for name in report.updates if name == "student"]
    assert rates == pytest.approx([1e-3, 0.5e-3])


def test_misaligned_pairs_teach_the_heads_and_leave_the_student_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {}
    for weight in (0.0, 1.0):
        method = build(config, discriminator__misaligned_weight=weight, discriminator__lr=1e-12)
        left[weight] = watch(monkeypatch, method)
        report = method.step(batch_for(method), step=0)
    assert report.metrics["discriminator/misaligned_loss"] > 0.5
    without, misaligned = left[0.0], left[1.0]
    heads = zip(without["heads"]["heads"].values(), misaligned["heads"]["heads"].values(), strict=True)
    assert any(not torch.allclose(one, other) for one, other in heads)
    for name, gradient in without["student"]["student"].items():
        assert torch.equal(gradient, misaligned["student"]["student"][name])


def test_a_neighbour_with_the_same_prompt_is_not_misaligned(config: Config) -> None:
    method = build(config, discriminator__misaligned_weight=1.0)
    batch = batch_for(method)
    one = batch.prompt.rows(slice(0, 1)).expand(4)
    report = method.step(replace(batch, prompt=one), step=0)
    assert report.metrics["discriminator/misaligned_loss"] == 0


@pytest.mark.parametrize(("levels", "name"), [("judge", "renoise_sigma"), ("uniform", "uniform_sigma")])
def test_the_teacher_answers_at_the_levels_that_are_wanted(config: Config, levels: str, name: str) -> None:
    method = build(config, distillation__weight=1.0, distillation__levels=levels)
    batch, seen = batch_for(method), []
    assert isinstance(method.teacher, torch.nn.Module)
    method.teacher.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    method.step(batch, step=0)
    drawn = ladd.draw(batch, method.config.noise, step=0, seed=method.config.run.seed)
    assert torch.equal(torch.stack(seen), getattr(drawn, name)[None])


def test_distillation_pulls_real_rows_only_if_asked(config: Config) -> None:
    losses = {}
    for rows in ("all", "real"):
        method = build(config, distillation__weight=2.5, distillation__rows=rows, data__origin="real")
        batch = batch_for(method)
        for name, real in (("drawn", None), ("mixed", torch.tensor([True, False, True, False]))):
            report = method.step(replace(batch, real=real), step=0)
            losses[rows, name] = report.metrics["student/distillation_loss"].item()
            total = report.metrics["student/adversarial_loss"] + report.metrics["student/distillation_loss"]
            torch.testing.assert_close(report.metrics["student/loss"], total)
    assert losses["real", "drawn"] == 0
    assert 0 < losses["real", "mixed"] < losses["all", "mixed"]
    assert losses["all", "drawn"] > 0


def test_a_guided_teacher_gives_another_target(config: Config) -> None:
    losses = []
    for guidance in (1.0, 4.0):
        method = build(config, distillation__weight=1.0, distillation__guidance_scale=guidance)
        batch = batch_for(method, rows=2)
        tokens = method.negative_prompt.prompt_embeds.shape[1] if method.negative_prompt else 12
        prompt = batch.prompt._replace(prompt_embeds=batch.prompt.prompt_embeds[:, :1].expand(-1, tokens, -1))
        report = method.step(replace(batch, prompt=prompt), step=0)
        losses.append(report.metrics["student/distillation_loss"].item())
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_judge_and_teacher_share_their_weights(config: Config) -> None:
    method = build(config, distillation__weight=1.0)
    judge = {weight.data_ptr() for weight in method.features.parameters()}
    teacher = {weight.data_ptr() for weight in method.teacher.parameters()}
    student = {weight.data_ptr() for weight in method.student.module.parameters()}
    assert judge == teacher
    assert not judge & student


def test_a_judge_of_its_own_keeps_no_block_that_it_does_not_read(config: Config) -> None:
    taps = {"discriminator__tapped_blocks": (0,)}
    alone, shared = build(config, **taps), build(config, **taps, distillation__weight=1.0)
    sizes = [sum(weight.numel() for weight in method.features.parameters()) for method in (alone, shared)]
    assert sizes[0] < 0.7 * sizes[1]
    batch = batch_for(alone)
    seen = [method.features(batch.latents, torch.full((4,), 0.5), *batch.prompt) for method in (alone, shared)]
    assert len(seen[0]) == 1 and torch.equal(seen[0][0], seen[1][0])
    assert alone.student.module.num_blocks == 2


def test_adapters_learn_and_the_judge_does_not_see_them(config: Config) -> None:
    adapted, plain = build(config, lora__rank=4), build(config)
    batch = batch_for(adapted)
    seen = adapted.features(batch.latents, torch.full((4,), 0.5), *batch.prompt)
    for step in range(3):
        adapted.step(batch_for(adapted, first_id=4 * step), step=step)
    student = dict(adapted.student.module.named_parameters())
    assert all(weight.any() for name, weight in student.items() if name.endswith("to_q.up"))
    for features in (adapted.features, plain.features):
        now = features(batch.latents, torch.full((4,), 0.5), *batch.prompt)
        assert same(seen, now)
    shared = {weight.data_ptr() for weight in adapted.features.parameters()}
    assert shared == {weight.data_ptr() for weight in student.values() if not weight.requires_grad}


def test_a_checkpoint_of_adapters_is_small_and_whole(config: Config, tmp_path: Path) -> None:
    trained, fresh = (build(config, lora__rank=4) for _ in range(2))
    for step in range(2):
        trained.step(batch_for(trained, first_id=4 * step), step=step)
    trained.student.save(tmp_path)
    fresh.student.load(tmp_path)
    for ema in (False, True):
        ours, theirs = (method.student.full_state_dict(ema=ema) for method in (trained, fresh))
        assert ours.keys() == theirs.keys()
        assert same(list(ours.values()), list(theirs.values()))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    whole = sum(weight.nbytes for weight in trained.student.module.parameters())
    assert size < whole / 2
