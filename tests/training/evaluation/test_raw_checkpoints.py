"""Checkpoints of runs as models: built as the run builds them, with the weights that the checkpoint holds."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from ladd_ray.config import Config
from ladd_ray.engine.local import LocalEngine
from ladd_ray.interfaces import Engine, TrainableNetwork
from ladd_ray.models.export import exported_levels
from ladd_ray.models.folder import has_three_tasks, load_transformer
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.tracking import NullTracker
from ladd_ray.training.checkpoints import CheckpointKeeper, keep_locally
from ladd_ray.training.evaluation.candidates import find_candidates, pipeline_folder
from ladd_ray.training.evaluation.raw_checkpoints import export_checkpoint, exported, find_checkpoint
from ladd_ray.training.finetuning.loop import NETWORK, build_network
from ladd_ray.training.methods import build_method
from ladd_ray.training.run_folder import claim
from tests.training.evaluation.conftest import Configure
from tests.training.finetuning.runs import tiny_config as finetune_config
from tests.training.runs import TEACHER
from tests.training.runs import tiny_config as distill_config

STEP = 7


def saved(config: Config | FinetuneConfig, networks: dict[str, TrainableNetwork], engine: Engine) -> Path:
    """A checkpoint of an unfinished run."""
    folder = claim(config, teacher=TEACHER)
    keeper = CheckpointKeeper(
        engine, folder.checkpoints, "0" * 16, noise_levels=(), deliver=keep_locally(folder.checkpoints, to_keep=1)
    )
    keeper.save(networks, step=STEP, tracker=NullTracker())
    (checkpoint,) = folder.checkpoints.iterdir()
    return checkpoint


def trained(network: TrainableNetwork) -> TrainableNetwork:
    """One step away from where it began, and its average somewhat less."""
    weights = [weight for weight in network.module.parameters() if weight.requires_grad]
    network.update(sum((weight * weight).sum() + weight.sum() for weight in weights))
    return network


@pytest.fixture
def engine() -> LocalEngine:
    return LocalEngine("cpu", total_steps=10)


@pytest.fixture
def student(tiny_folder: Path, tmp_path: Path, engine: LocalEngine) -> tuple[Path, TrainableNetwork]:
    config = distill_config(tiny_folder, tmp_path / "runs")
    method = build_method(config, engine)
    trained(method.student)
    return saved(config, method.trainable, engine), method.student


@pytest.fixture
def tasks(tiny_folder: Path, tmp_path: Path, engine: LocalEngine) -> tuple[Path, TrainableNetwork]:
    config = finetune_config(tiny_folder, tmp_path / "runs")
    network = trained(build_network(config, engine))
    return saved(config, {NETWORK: network}, engine), network


def require_weights(folder: Path, network: TrainableNetwork) -> None:
    """The folder holds the average of the network, which is not where the network stands now."""
    written = load_transformer(folder, precision="fp32").state_dict()
    average, now = (network.full_state_dict(ema=ema) for ema in (True, False))
    ours = {name.removeprefix("transformer."): tensor for name, tensor in average.items()}
    assert all(torch.allclose(tensor, ours[name], atol=1e-6) for name, tensor in written.items())
    assert any(not torch.equal(average[name], now[name]) for name in now)


def test_a_student_draws_at_the_levels_of_its_run(student: tuple[Path, TrainableNetwork], configure: Configure) -> None:
    """Exported by a process of its own, and once only."""
    folder, network = student
    (candidate,) = find_candidates(configure(folder), fetch=True)
    assert (candidate.name, candidate.role, candidate.path) == (f"tiny at step {STEP}", "student", f"{folder}/pipeline")
    assert candidate.levels == exported_levels(candidate.path) == (1.0, 0.75, 0.5, 0.25)
    require_weights(folder / "pipeline", network)
    written = (folder / "pipeline" / "model_index.json").stat().st_mtime_ns
    checkpoint = find_checkpoint(folder)
    assert checkpoint is not None and exported(checkpoint) == folder / "pipeline"
    assert (folder / "pipeline" / "model_index.json").stat().st_mtime_ns == written


def test_a_continued_training_draws_as_a_teacher_of_three_tasks(
    tasks: tuple[Path, TrainableNetwork], configure: Configure
) -> None:
    folder, network = tasks
    checkpoint = find_checkpoint(folder)
    assert checkpoint is not None and checkpoint.three_tasks
    export_checkpoint(checkpoint)
    assert has_three_tasks(folder / "pipeline")
    require_weights(folder / "pipeline", network)
    (candidate,) = find_candidates(configure(folder), fetch=False)
    assert (candidate.role, candidate.three_tasks) == ("teacher", True)


def test_a_dry_run_writes_nothing(student: tuple[Path, TrainableNetwork], configure: Configure) -> None:
    folder, _ = student
    (candidate,) = find_candidates(configure(folder), fetch=False)
    assert (candidate.role, candidate.levels, candidate.three_tasks) == ("student", (1.0, 0.75, 0.5, 0.25), False)
    assert not (folder / "pipeline").exists()


def test_damaged_and_displaced_checkpoints_are_refused(
    student: tuple[Path, TrainableNetwork], tmp_path: Path, configure: Configure
) -> None:
    folder, _ = student
    elsewhere = folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="lies in no run"):
        find_candidates(configure(elsewhere), fetch=False)
    (elsewhere / "student" / "network.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"network\.pt has 0 bytes"):
        find_checkpoint(elsewhere)


def test_an_unfinished_run_says_where_its_checkpoints_lie(student: tuple[Path, TrainableNetwork]) -> None:
    folder, _ = student
    with pytest.raises(ValueError, match=r"finish the run .*or name one of the folders in .*checkpoints"):
        pipeline_folder(str(folder.parents[1]))


def test_other_folders_are_no_checkpoints(tiny_folder: Path) -> None:
    assert find_checkpoint(tiny_folder) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_shards_of_deepspeed_become_a_model_too(tiny_folder: Path, tmp_path: Path) -> None:
    config = finetune_config(tiny_folder, tmp_path / "runs", run__engine="deepspeed", optimizer__zero_stage=2)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        folder, average = pool.submit(shards_of, config).result()
    checkpoint = find_checkpoint(folder)
    assert checkpoint is not None
    written = load_transformer(exported(checkpoint), precision="fp32").state_dict()
    assert all(torch.allclose(tensor, average[f"transformer.{name}"], atol=1e-6) for name, tensor in written.items())


def shards_of(config: FinetuneConfig) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint of DeepSpeed's engine, and the average in it; in a process of its own, like every such engine."""
    from ladd_ray.engine.zero import ZeroEngine

    engine = ZeroEngine(total_steps=10, micro_batch_size=config.run.micro_batch_size)
    network = trained(build_network(config, engine))
    return saved(config, {NETWORK: network}, engine), dict(network.full_state_dict(ema=True))
