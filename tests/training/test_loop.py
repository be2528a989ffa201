"""The loop on one device with the real networks: golden losses and resuming.

After a change that is meant to alter the numbers, write the golden file anew:

    LADD_RAY_WRITE_GOLDEN=1 python -m pytest tests/training/test_loop.py -k golden
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ladd_ray.config import Config, override
from ladd_ray.data.provenance import read_facts
from ladd_ray.data.task_rows import DrawnProvenance
from ladd_ray.engine.local import LocalEngine
from ladd_ray.training import loop
from ladd_ray.training.methods import Method
from ladd_ray.training.methods.ladd import LaddMethod, build_ladd
from tests.training.pictures import write_latents
from tests.training.runs import LOSSES, STEPS, StoppedError, timeless, tiny_config, train

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tiny.txt"


@pytest.fixture(scope="module")
def unbroken(tiny_folder: Path, latents: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Method]:
    """A run that nothing disturbed."""
    config = tiny_config(tiny_folder, tmp_path_factory.mktemp("unbroken"))
    return config, train(config, latents)


def golden_lines(config: Config) -> list[str]:
    return [f"{line['step']} " + " ".join(f"{line[name]:.8g}" for name in LOSSES) for line in timeless(config)]


def test_golden_losses(unbroken: tuple[Config, Method]) -> None:
    found = golden_lines(unbroken[0])
    if os.environ.get("LADD_RAY_WRITE_GOLDEN"):
        GOLDEN.write_text("\n".join(found) + "\n")
    expected = GOLDEN.read_text().splitlines()
    assert len(found) == len(expected) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        numbers = [float(part) for part in theirs.split()]
        assert [float(part) for part in ours.split()] == pytest.approx(numbers, rel=1e-5, abs=1e-6)


def test_both_networks_learn(unbroken: tuple[Config, Method]) -> None:
    config, method = unbroken
    untrained = build_ladd(config, LocalEngine("cpu", total_steps=STEPS))
    for name, network in method.trainable.items():
        assert network.checksum() != untrained.trainable[name].checksum()
    assert isinstance(method, LaddMethod)
    teacher, untouched = (list(found.features.parameters()) for found in (method, untrained))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(teacher, untouched, strict=True))


def weights(method: Method) -> Iterator[tuple[str, Tensor]]:
    for name, network in method.trainable.items():
        yield from ((f"{name}.{key}", tensor) for key, tensor in network.full_state_dict().items())
    yield from ((f"ema.{key}", tensor) for key, tensor in method.student.full_state_dict(ema=True).items())


@pytest.mark.parametrize("stop_after", [2, 3, 8])
def test_a_resumed_run_equals_the_unbroken_one(
    config: Config, latents: Path, unbroken: tuple[Config, Method], stop_after: int
) -> None:
    with pytest.raises(StoppedError):
        train(config, latents, stop_after=stop_after)
    assert len(timeless(config)) == stop_after
    resumed = train(config, latents)
    assert timeless(config) == timeless(unbroken[0])
    for (name, ours), (_, theirs) in zip(weights(resumed), weights(unbroken[1]), strict=True):
        assert torch.equal(ours, theirs), name


def test_accumulation_does_not_change_the_step(config: Config, latents: Path) -> None:
    """Up to the heads' step between the student's micro batches, so the heads hardly move here."""
    config = override(config, {"discriminator.lr": 1e-12, "run.steps": 4})
    accumulated = override(config, {"run.gradient_accumulation_steps": 2, "run.name": "accumulated"})
    trained = [train(found, latents) for found in (config, accumulated)]
    for name in ("student/gradient_norm", "discriminator/gradient_norm"):
        whole, halves = ([line[name] for line in timeless(found)] for found in (config, accumulated))
        assert halves == pytest.approx(whole, rel=1e-4), name
    for (name, ours), (_, theirs) in zip(*map(weights, trained), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=name)


def test_a_finished_run_does_not_train_on(config: Config, latents: Path) -> None:
    train(config, latents)
    before = timeless(config)
    train(config, latents)
    assert timeless(config) == before


def test_other_noise_levels_are_refused(config: Config, latents: Path) -> None:
    train(override(config, {"run.steps": 3}), latents)
    with pytest.raises(ValueError, match=r"was trained at the noise levels .* they must be equal"):
        train(override(config, {"noise.levels": (1.0, 0.8, 0.5, 0.25)}), latents)


def test_a_damaged_checkpoint_falls_back_to_an_older_one(
    config: Config, latents: Path, unbroken: tuple[Config, Method], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoppedError):
        train(config, latents, stop_after=7)
    newest = max((config.run_directory / "checkpoints").iterdir())
    file = newest / "student" / "network.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        train(config, latents)
    messages = [record.getMessage() for record in caplog.records]
    assert any("damaged, falling back" in message and str(file) in message for message in messages), messages
    assert any("resumed at step 3" in message for message in messages), messages
    assert timeless(config) == timeless(unbroken[0])


def test_only_the_newest_checkpoints_stay(unbroken: tuple[Config, Method]) -> None:
    folder = unbroken[0].run_directory / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint_00000009", "checkpoint_00000010"]


def test_noise_in_place_of_latents_is_refused(config: Config, latents: Path, tmp_path: Path) -> None:
    folder, noise = tmp_path / "noise", torch.randn(24, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    write_latents(folder, read_facts(latents, DrawnProvenance), latents=noise)
    with pytest.raises(ValueError, match="holds noise, not pictures"):
        train(config, folder)


def test_ranks_that_disagree_are_stopped(config: Config, latents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_rank = (0.0, 0.0)
    monkeypatch.setattr(LocalEngine, "gather_objects", lambda self, value: [value, other_rank])
    method = build_ladd(config, LocalEngine("cpu", total_steps=STEPS))
    with pytest.raises(RuntimeError, match="ranks disagree about their weights"):
        loop._require_agreement(method, LocalEngine("cpu", total_steps=STEPS))
