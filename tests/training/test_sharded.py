"""The whole worker on two processes against one device: same global batch, same losses, same exported student."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ladd_ray.config import Config, override
from ladd_ray.engine.checkpoint import newest_valid
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.lora import merge_adapters
from ladd_ray.training.methods import Method
from ladd_ray.training.preflight import prepare
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.worker import worker_settings
from tests.engine.conftest import free_port
from tests.training.pictures import write_latents
from tests.training.runs import LOSSES, STEPS, TEACHER, timeless, tiny_config, train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240
PROMPT_TOKENS = 13
"""Twelve of CLIP and one of T5."""
CASES: Mapping[str, Mapping[str, object]] = {
    "zero-1": {"student.zero_stage": 1},
    "zero-2": {"student.zero_stage": 2, "discriminator.zero_stage": 1},
    "zero-3": {"student.zero_stage": 3, "teacher.sharded": True},
    "lora": {"student.zero_stage": 2, "lora.rank": 4},
    "turns": {
        "student.zero_stage": 3,
        "discriminator.zero_stage": 2,
        "discriminator.steps_per_student_step": 2,
        "discriminator.reuse": "none",
        "discriminator.r1": "exact",
        "discriminator.r1_weight": 1e-3,
        "distillation.weight": 2.5,
    },
    "lcm": {"method": "lcm", "student.zero_stage": 3, "lcm.guidance": (2.0, 4.0)},
}
OF_ENGINES = ("student.zero_stage", "discriminator.zero_stage", "teacher.sharded")
"""What one device has no use for."""
ON_TWO_RANKS = {
    "run.engine": "deepspeed",
    "run.num_workers": 2,
    # Nobody listens there: training must go on, and the metrics are in the run's folder all the same.
    "tracking.uri": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module")
def references(
    tiny_folder: Path, latents: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Config, Method]]:
    """For every case what one device without DeepSpeed makes of it; cases that it cannot tell apart share a run."""
    plain = tiny_config(tiny_folder, tmp_path_factory.mktemp("reference"))
    trained: dict[str, tuple[Config, Method]] = {}
    found = {}
    for name, changes in CASES.items():
        ours = {key: value for key, value in changes.items() if key not in OF_ENGINES}
        if str(ours) not in trained:
            config = override(plain, {**ours, "run.name": name})
            trained[str(ours)] = config, train(config, latents)
        found[name] = trained[str(ours)]
    return found


@pytest.fixture(scope="module")
def latents(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With prompts as long as the model's own, which guidance sets beside the empty one."""
    root = tmp_path_factory.mktemp("latents")
    provenance = prepare(tiny_config(tiny_folder, root)).provenance
    write_latents(root / provenance.key, provenance, prompt_tokens=PROMPT_TOKENS)
    return root / provenance.key


@pytest.fixture(scope="module")
def sharded(
    references: dict[str, tuple[Config, Method]], latents: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Config]:
    """Every case, trained by one pair of processes."""
    directory = tmp_path_factory.mktemp("sharded")
    settings = {**ON_TWO_RANKS, "run.directory": str(directory)}
    cases = {
        name: override(references[name][0], {**settings, **changes, "run.name": name})
        for name, changes in CASES.items()
    }
    path = directory / "cases.json"
    path.write_text(
        json.dumps([worker_settings(config, teacher=TEACHER, latents=latents) for config in cases.values()])
    )
    launch(path)
    return cases


def launch(cases: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    logs = [cases.with_name(f"rank_{rank}.log") for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.rank", str(cases)],
            cwd=ROOT,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(SECONDS) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert not any(codes), "\n".join(log.read_text()[-3000:] for log in logs)


def values(lines: list[dict[str, float]], name: str) -> list[float]:
    """A metric at the points that have it."""
    return [line[name] for line in lines if name in line]


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_one_device(
    sharded: dict[str, Config], references: dict[str, tuple[Config, Method]], case: str
) -> None:
    ours, theirs = timeless(sharded[case]), timeless(references[case][0])
    assert [line["step"] for line in ours] == list(range(1, STEPS + 1))
    assert ours[0].keys() == theirs[0].keys()
    for name in [name for name in LOSSES if name in theirs[-1]]:
        found, expected = values(ours, name), values(theirs, name)
        assert found[0] == pytest.approx(expected[0], rel=1e-6, abs=1e-7), name
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("case", CASES)
def test_gradient_norms_and_learning_rates_are_those_of_one_device(
    sharded: dict[str, Config], references: dict[str, tuple[Config, Method]], case: str
) -> None:
    for name in ("student/gradient_norm", "discriminator/gradient_norm", "student/lr", "discriminator/lr"):
        found, expected = (values(timeless(config), name) for config in (sharded[case], references[case][0]))
        assert found == pytest.approx(expected, rel=1e-3), name


@pytest.mark.parametrize("case", CASES)
def test_the_exported_student_is_that_of_one_device(
    sharded: dict[str, Config], references: dict[str, tuple[Config, Method]], case: str
) -> None:
    export = RunFolder(sharded[case].run_directory).export
    ours: dict[str, Tensor] = load_transformer(export, precision="fp32").state_dict()
    config, method = references[case]
    theirs = merge_adapters(method.student.full_state_dict(ema=True), config.lora)
    assert {f"transformer.{name}" for name in ours} == theirs.keys()
    for name, tensor in ours.items():
        # Adam divides by the size of gradients, also of those that are only rounding; a run moves weights by 1e-2.
        torch.testing.assert_close(tensor, theirs[f"transformer.{name}"], rtol=0, atol=3e-4, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_of_two_ranks_is_whole(sharded: dict[str, Config], case: str) -> None:
    found = newest_valid(RunFolder(sharded[case].run_directory).checkpoints)
    assert found is not None
    _, manifest = found
    assert (manifest.step, manifest.world_size) == (STEPS, 2)
    assert manifest.noise_levels == sharded[case].noise.levels
