"""Named runs build, and the large ones have the sizes that they speak of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import Config
from ladd_ray.engine.zero_config import deepspeed_config
from ladd_ray.models.folder import random_transformer
from ladd_ray.models.sd3 import SD3Denoiser, SD3Features
from ladd_ray.recipes import RECIPES, sd3_medium, sd35_large

ROOT = Path(__file__).resolve().parents[1]
CHECK_WITH_DEEPSPEED = """
from ladd_ray.engine.zero import deepspeed, deepspeed_config
from ladd_ray.recipes import RECIPES

for recipe in RECIPES.values():
    config = recipe()
    for settings in (config.student, config.discriminator):
        ours = deepspeed_config(
            settings,
            micro_batch_size=config.micro_batch_size,
            gradient_accumulation_steps=config.run.gradient_accumulation_steps,
            world_size=1,
        )
        parsed = deepspeed.DeepSpeedConfig(ours)
        assert int(parsed.zero_config.stage) == settings.zero_stage
        assert parsed.gradient_clipping == settings.gradient_clipping
        assert parsed.bfloat16_config.enabled == (getattr(settings, "precision", "fp32") == "bf16")
        print(config.recipe, type(settings).__name__, "accepted")
"""


@pytest.fixture(scope="module")
def large() -> SD3Denoiser:
    """Stable Diffusion 3.5 Large without weights."""
    return SD3Denoiser(random_transformer("sd3.5-large", device="meta"))


def num_parameters(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_builds_and_says_what_it_needs(name: str) -> None:
    config = RECIPES[name]()
    assert config.recipe == name
    assert config == Config.model_validate(config.model_dump(mode="json"))
    assert "Hardware:" in (RECIPES[name].__doc__ or "")


def test_every_recipe_has_a_run_folder_of_its_own() -> None:
    assert len({recipe().run_directory for recipe in RECIPES.values()}) == len(RECIPES)


def test_large_has_eight_billion_parameters(large: SD3Denoiser) -> None:
    assert num_parameters(large) == 8_056_627_520
    assert (large.num_blocks, large.hidden_size) == (38, 2432)


def test_heads_of_the_large_recipe_are_small(large: SD3Denoiser) -> None:
    config = sd35_large().discriminator
    with torch.device("meta"):
        heads = DiscriminatorHeads.from_config(
            config, large.hidden_size, pooled_size=large.pooled_size, num_blocks=large.num_blocks
        )
    features = SD3Features(large.transformer, tapped_blocks=config.tapped_blocks)
    assert len(heads.heads) == len(features.tapped_blocks) == 38
    assert 0.01 < num_parameters(heads) / num_parameters(large) < 0.1


@pytest.mark.parametrize("recipe", [sd3_medium, sd35_large])
def test_deepspeed_sees_the_whole_batch(recipe: object) -> None:
    config = recipe()  # type: ignore[operator]
    ours = deepspeed_config(
        config.student,
        micro_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.run.gradient_accumulation_steps,
        world_size=config.run.num_workers,
    )
    assert ours["train_batch_size"] == config.run.global_batch_size
    assert ours["zero_optimization"]["stage"] == config.student.zero_stage
    assert ours["bf16"] == {"enabled": True}


@pytest.mark.slow
def test_deepspeed_accepts_every_recipe() -> None:
    command = [sys.executable, "-c", CHECK_WITH_DEEPSPEED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("accepted") == 2 * len(RECIPES)
