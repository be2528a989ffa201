"""The continued training on one device: it learns, resumes exactly, and leaves a model with three tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.tasks import TASKS
from ladd_ray.config import override
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import TrainableNetwork
from ladd_ray.models.folder import fingerprint, load_transformer
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.tracking import LocalHistory
from ladd_ray.training.checkpoints import CheckpointKeeper, keep_locally
from ladd_ray.training.finetuning.launch import run
from ladd_ray.training.finetuning.loop import build_network, finetune
from ladd_ray.training.finetuning.validation import BINS, Validation
from ladd_ray.training.run_folder import RunFolder
from tests.training.finetuning.runs import STEPS, tiny_config
from tests.training.runs import HistoryTracker, StoppedError


def history(config: FinetuneConfig) -> LocalHistory:
    return LocalHistory(config.run_directory / "metrics.jsonl")


def train(config: FinetuneConfig, encoded: Path, *, stop_after: int | None = None) -> TrainableNetwork:
    """What ``run_worker`` does before the export, without MLflow."""
    engine = LocalEngine(
        "cpu", total_steps=config.run.steps, gradient_accumulation_steps=config.run.gradient_accumulation_steps
    )
    root = RunFolder(config.run_directory).checkpoints
    keeper = CheckpointKeeper(
        engine=engine, root=root, config_hash="0" * 16, noise_levels=(), deliver=keep_locally(root, to_keep=2)
    )
    history(config).truncate(keeper.step)
    tracker = HistoryTracker(history(config), stop_after=stop_after)
    return finetune(config, engine=engine, encoded=encoded, keeper=keeper, tracker=tracker)


def lines(config: FinetuneConfig) -> list[dict[str, float]]:
    found = history(config).read()
    return [
        {name: value for name, value in line.items() if name.split("/")[0] not in ("throughput", "data")}
        for line in found
    ]


@pytest.fixture(scope="module")
def unbroken(
    tiny_folder: Path, encoded: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinetuneConfig, TrainableNetwork]:
    config = tiny_config(tiny_folder, tmp_path_factory.mktemp("unbroken"))
    return config, train(config, encoded)


def test_steps_tasks_and_validation_are_logged(unbroken: tuple[FinetuneConfig, TrainableNetwork]) -> None:
    found = lines(unbroken[0])
    steps = [line["step"] for line in found if "flow/loss" in line]
    assert steps == list(range(1, STEPS + 1))
    assert {f"flow/{task}" for task in TASKS} <= {name for line in found for name in line}
    (validated,) = (line for line in found if "validation/loss" in line)
    assert validated["step"] == 4


@pytest.mark.parametrize("stop_after", [1, 4, 5])
def test_a_resumed_run_equals_the_unbroken_one(
    config: FinetuneConfig, encoded: Path, unbroken: tuple[FinetuneConfig, TrainableNetwork], stop_after: int
) -> None:
    with pytest.raises(StoppedError):
        train(config, encoded, stop_after=stop_after)
    resumed = train(config, encoded)
    assert lines(config) == lines(unbroken[0])
    for ema in (False, True):
        ours, theirs = resumed.full_state_dict(ema=ema), unbroken[1].full_state_dict(ema=ema)
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_accumulation_does_not_change_the_step(config: FinetuneConfig, encoded: Path) -> None:
    accumulated = override(config, {"run.gradient_accumulation_steps": 2, "run.name": "accumulated"})
    states = [train(found, encoded).full_state_dict() for found in (config, accumulated)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=2e-4, msg=name)
    for name in ("flow/loss", "flow/gradient_norm"):
        whole, halves = ([line[name] for line in lines(found) if name in line] for found in (config, accumulated))
        assert halves == pytest.approx(whole, rel=1e-3), name


def test_the_new_input_weights_start_at_zero_and_learn(
    config: FinetuneConfig, unbroken: tuple[FinetuneConfig, TrainableNetwork]
) -> None:
    def entrance(state: Mapping[str, Tensor]) -> Tensor:
        return state["transformer.pos_embed.proj.weight"]

    untrained = build_network(config, LocalEngine("cpu", total_steps=1))
    assert entrance(untrained.full_state_dict()).shape[1] == 33
    assert entrance(untrained.full_state_dict())[:, 16:].abs().max() == 0
    learned = entrance(unbroken[1].full_state_dict())[:, 16:]
    assert all(part.abs().max() > 0 for part in (learned[:, :1], learned[:, 1:]))


def test_training_lowers_the_loss_of_held_out_rows(config: FinetuneConfig, encoded: Path) -> None:
    config = override(config, {"run.steps": 40, "run.checkpoint_every": 40, "validation.every": 100})
    engine, validation = LocalEngine("cpu", total_steps=1), Validation.over(config, encoded)
    before = validation.losses(build_network(config, engine), engine)
    after = validation.losses(train(config, encoded), engine)
    assert after["validation/loss"] < 0.95 * before["validation/loss"]
    assert before.keys() == after.keys()
    bins = [f"sigma_{low:g}_{high:g}" for low, high in BINS]
    assert {name.split("/")[2] for name in before if name.count("/") == 2} == set(bins)


def test_validation_does_not_depend_on_its_batches(config: FinetuneConfig, encoded: Path) -> None:
    engine = LocalEngine("cpu", total_steps=1)
    network = build_network(config, engine)
    losses = [
        Validation.over(override(config, {"validation.batch_size": size}), encoded).losses(network, engine)
        for size in (1, 5, 64)
    ]
    for found in losses[1:]:
        assert found == pytest.approx(losses[0], rel=1e-4)


def test_text_to_image_alone_stays_narrow(config: FinetuneConfig) -> None:
    shares = {"data.tasks.generate": 1.0, "data.tasks.edit": 0.0, "data.tasks.inpaint": 0.0}
    narrow = override(config, {"model.three_tasks": False, **shares, "run.steps": 2})
    folder = run(narrow)
    transformer = load_transformer(folder.pipeline, precision="fp32")
    assert transformer.config.in_channels == 16
    assert fingerprint(folder.pipeline) != fingerprint(config.model.path)


def test_a_whole_run_leaves_pipeline_metrics_and_curves_and_goes_on_from_itself(config: FinetuneConfig) -> None:
    folder = run(config)
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["validation/loss"] > 0
    assert (folder.path / "curves.png").stat().st_size > 1000
    transformer = load_transformer(folder.pipeline, precision="fp32")
    assert (transformer.config.in_channels, transformer.out_channels) == (33, 16)
    index = json.loads((folder.pipeline / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusion3InpaintPipeline"
    assert run(config) == folder
    further = override(config, {"model.path": str(folder.pipeline), "run.name": "further", "run.steps": 2})
    again = run(further)
    assert load_transformer(again.pipeline, precision="fp32").config.in_channels == 33
    assert not any((again.path.parent / "encoded").glob("*.unfinished"))
    assert len(list((again.path.parent / "encoded").glob("*/provenance.json"))) == 1
