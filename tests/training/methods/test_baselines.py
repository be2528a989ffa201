"""ADD and LCM with the real networks, under the same loop as LADD: golden losses, resuming, and who learns.

After a change that is meant to alter the numbers, write the golden files anew:

    LADD_RAY_WRITE_GOLDEN=1 python -m pytest tests/training/methods/test_baselines.py -k golden
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from ladd_ray.config import Config, override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import LatentBatch, Update
from ladd_ray.training.feeds import open_feed
from ladd_ray.training.methods import Method, build_method
from ladd_ray.training.methods.add import AddMethod, build_add
from ladd_ray.training.methods.lcm import build_lcm
from ladd_ray.training.preflight import prepare
from tests.training.pictures import write_latents
from tests.training.runs import STEPS, StoppedError, timeless, tiny_config, train

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
# Adam without momentum steps by the signs of gradients. On a picture of 32 px some are nothing but rounding, and at the
# learning rate of the other runs two kinds of processor drift apart by a tenth within ten steps; at this one by 1e-6.
BASELINES: Mapping[str, Mapping[str, object]] = {
    "add": {
        "method": "add",
        "student__lr": 3e-5,
        "discriminator__lr": 3e-5,
        "discriminator__r1": "exact",
        "distillation__weight": 2.5,
        "add__features_side": 32,
        "add__recompute_decoder": True,
    },
    "lcm": {"method": "lcm", "lcm__skip": 50, "lcm__guidance": (2.0, 4.0)},
}
LOSSES = {
    "add": ("student/loss", "student/distillation_loss", "discriminator/loss"),
    "lcm": ("student/loss", "student/target_distance"),
}

PROMPT_TOKENS = 13
"""Twelve of CLIP and one of T5."""

Run = tuple[Config, Method]


def baseline(name: str, teacher: Path, directory: Path) -> Config:
    return tiny_config(teacher, directory, **BASELINES[name])


@pytest.fixture(scope="module")
def latents(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents with prompts as long as the model's own, which guidance sets beside the empty one."""
    root = tmp_path_factory.mktemp("latents")
    provenance = prepare(tiny_config(tiny_folder, root)).provenance
    write_latents(root / provenance.key, provenance, prompt_tokens=PROMPT_TOKENS)
    return root / provenance.key


@pytest.fixture(scope="module", params=list(BASELINES))
def unbroken(
    request: pytest.FixtureRequest, tiny_folder: Path, latents: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run of either baseline that nothing disturbed."""
    config = baseline(request.param, tiny_folder, tmp_path_factory.mktemp(request.param))
    return config, train(config, latents)


def elsewhere(run: Run, directory: Path) -> Config:
    return override(run[0], {"run.directory": str(directory)})


def weights(method: Method) -> Iterator[tuple[str, Tensor]]:
    for name, network in method.trainable.items():
        yield from ((f"{name}.{key}", tensor) for key, tensor in network.full_state_dict().items())
    yield from ((f"ema.{key}", tensor) for key, tensor in method.student.full_state_dict(ema=True).items())


def test_golden_losses(unbroken: Run) -> None:
    config = unbroken[0]
    names, file = LOSSES[config.method], GOLDEN / f"{config.method}.txt"
    found = [f"{line['step']} " + " ".join(f"{line[name]:.8g}" for name in names) for line in timeless(config)]
    if os.environ.get("LADD_RAY_WRITE_GOLDEN"):
        file.write_text("\n".join(found) + "\n")
    expected = file.read_text().splitlines()
    assert len(found) == len(expected) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        numbers = [float(part) for part in theirs.split()]
        assert [float(part) for part in ours.split()] == pytest.approx(numbers, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("stop_after", [2, 8])
def test_a_resumed_run_equals_the_unbroken_one(unbroken: Run, latents: Path, tmp_path: Path, stop_after: int) -> None:
    config = elsewhere(unbroken, tmp_path)
    with pytest.raises(StoppedError):
        train(config, latents, stop_after=stop_after)
    resumed = train(config, latents)
    assert timeless(config) == timeless(unbroken[0])
    for (name, ours), (_, theirs) in zip(weights(resumed), weights(unbroken[1]), strict=True):
        assert torch.equal(ours, theirs), name


def test_all_that_is_trainable_learns(unbroken: Run) -> None:
    config, method = unbroken
    untrained = build_method(config, LocalEngine("cpu", total_steps=STEPS))
    for name, network in method.trainable.items():
        assert network.checksum() != untrained.trainable[name].checksum(), name


def test_consistency_grows(tiny_folder: Path, tmp_path: Path, batch: LatentBatch) -> None:
    """Training on one step of the teacher brings both of its ends to one picture."""
    config = override(baseline("lcm", tiny_folder, tmp_path), {"student.lr": 2e-4, "student.betas": (0.9, 0.999)})
    method = build_lcm(config, LocalEngine("cpu", total_steps=STEPS))
    distances = [method.step(batch, step=0).metrics["student/target_distance"] for _ in range(20)]
    assert distances[-1] < 0.5 * distances[0]


def test_accumulation_does_not_change_the_step(tiny_folder: Path, latents: Path, tmp_path: Path) -> None:
    config = override(baseline("lcm", tiny_folder, tmp_path), {"run.steps": 4})
    accumulated = override(config, {"run.gradient_accumulation_steps": 2, "run.name": "accumulated"})
    trained = [train(found, latents) for found in (config, accumulated)]
    whole, halves = ([line["student/gradient_norm"] for line in timeless(found)] for found in (config, accumulated))
    assert halves == pytest.approx(whole, rel=1e-4)
    for (name, ours), (_, theirs) in zip(*map(weights, trained), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=name)


@pytest.fixture
def batch(config: Config, latents: Path) -> LatentBatch:
    """The first batch of a run."""
    return open_feed(config, latents).batch(0, 0, rank=0, world_size=1, device=torch.device("cpu"))


def new_add(teacher: Path, directory: Path, **changes: object) -> AddMethod:
    config = tiny_config(teacher, directory, **{**BASELINES["add"], **changes})
    return build_add(config, LocalEngine("cpu", total_steps=STEPS))


def players(method: AddMethod) -> dict[str, nn.Module]:
    decoder = method.decode.__self__._vae  # type: ignore[attr-defined]
    found = {"student": method.student.module, "heads": method.heads.module, "decoder": decoder}
    assert isinstance(method.features, nn.Module)
    return {**found, "features": method.features}


def test_every_turn_of_add_leaves_gradients_in_its_own_network_only(
    tiny_folder: Path, tmp_path: Path, batch: LatentBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without distillation the student's gradient comes through decoder and features alone.
    method = new_add(tiny_folder, tmp_path, distillation__weight=0.0)
    left: dict[str, dict[str, bool]] = {}

    def watch(turn: str) -> None:
        def update(loss: Tensor) -> Update:
            loss.backward()
            left[turn] = {
                name: any(weight.grad is not None and bool(weight.grad.any()) for weight in module.parameters())
                for name, module in players(method).items()
            }
            for module in players(method).values():
                module.zero_grad()
            return Update(stepped=True, gradient_norm=0.0, lr=0.0)

        monkeypatch.setattr(getattr(method, turn), "update", update)

    watch("heads")
    watch("student")
    method.step(batch, step=0)
    assert {turn: [name for name, found in modules.items() if found] for turn, modules in left.items()} == {
        "heads": ["heads"],
        "student": ["student"],
    }


def test_heads_of_add_have_the_widths_of_the_image_network(tiny_folder: Path, tmp_path: Path) -> None:
    heads = new_add(tiny_folder, tmp_path).heads.module
    assert [head.trunk[1].in_channels for head in heads.heads] == [24, 40, 112, 320]
    assert all(head.sigma_embedding is None for head in heads.heads)


def test_add_judges_by_a_dinov2_folder(tiny_folder: Path, tmp_path: Path, batch: LatentBatch) -> None:
    config = Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, patch_size=14, image_size=56)
    Dinov2Model(config).save_pretrained(tmp_path / "dino")
    method = new_add(tiny_folder, tmp_path, add__features=str(tmp_path / "dino"), add__features_side=56)
    assert [head.trunk[1].in_channels for head in method.heads.module.heads] == [32] * 4
    assert method.step(batch, step=0).updates["student"].gradient_norm > 0


def test_preflight_finds_the_image_network_before_a_cluster_starts(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = baseline("add", tiny_folder, tmp_path)
    with pytest.raises(ValueError, match=r"nowhere holds no DINOv2 model"):
        prepare(override(config, {"add.features": "nowhere"}))
    (tmp_path / "dino").mkdir()
    (tmp_path / "dino" / "config.json").write_text('{"model_type": "dinov2"}')
    monkeypatch.chdir(tmp_path)
    assert prepare(override(config, {"add.features": "dino"})).config.add.features == str(tmp_path / "dino")


def test_guidance_of_the_teacher_changes_adds_loss(tiny_folder: Path, tmp_path: Path, batch: LatentBatch) -> None:
    losses = [
        new_add(tiny_folder, tmp_path, distillation__guidance_scale=scale)
        .step(batch, step=0)
        .metrics["student/distillation_loss"]
        for scale in (1.0, 6.0)
    ]
    assert losses[0] != losses[1]


def test_targets_of_lcm_come_from_the_moving_average(tiny_folder: Path, tmp_path: Path, batch: LatentBatch) -> None:
    """A student far from its average is pulled back to it; the same step without an average has another target."""
    distances = []
    for decay in (0.9, 0.0):
        config = override(baseline("lcm", tiny_folder, tmp_path), {"student.ema_decay": decay})
        method = build_lcm(config, LocalEngine("cpu", total_steps=STEPS))
        with torch.no_grad():
            for weight in method.student.module.parameters():
                weight.add_(0.02 * torch.ones_like(weight))
        distances.append(method.step(batch, step=0).metrics["student/target_distance"])
    assert distances[0] > 1.5 * distances[1]
